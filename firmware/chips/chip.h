/* What the application needs of a chip, besides the wire's port.h. One folder per chip implements both. */
#ifndef CHIP_H
#define CHIP_H

#include <stdbool.h>
#include <stdint.h>

/* Why the chip started, the same bits on every chip (docs/wire.md). Bits 16 to 23 hold the number of the exception
 * after which the firmware reset itself, 0 if none. */
enum chip_reset {
    CHIP_RESET_POWER = 1u << 0,    /* power-on or brown-out */
    CHIP_RESET_PIN = 1u << 1,
    CHIP_RESET_WATCHDOG = 1u << 2,
    CHIP_RESET_SOFTWARE = 1u << 3, /* SYSRESETREQ: the firmware itself or a debug probe */
    CHIP_RESET_LOCKUP = 1u << 4,   /* a fault inside the fault handler; a stack overflow ends here */
    CHIP_RESET_DEBUG = 1u << 5,    /* the debug interface woke the chip */
    CHIP_RESET_OTHER = 1u << 6
};
#define CHIP_RESET_EXCEPTION_SHIFT 16u

/* The linker script's symbols: their addresses are the values. */
extern uint8_t __arena_start[], __arena_end[];   /* RAM for the model image's region 0 */
extern uint32_t __stack_start[], __stack_end[];
extern const uint8_t __image_start[], __image_end[]; /* flash for the model image */
extern const uint8_t __build_id[8];

/* Clocks, caches, supply, pins and cycle counter; the UART is ready for port_receive and port_transmit. */
void chip_start(void);

/* Let bytes gather for a little while; before that, if `may_sleep` and none have come since that was last so, sleep until
 * one comes. Never sleeps over a byte: call it in a loop with link_poll. */
void chip_wait(bool may_sleep);

/* Let the cycle counter count. A debugger that detaches may have stopped it, so the app asks again with each session. */
void chip_count_cycles(void);

/* The core's cycle counter, 32 bits, wraps. */
uint32_t chip_cycles(void);

/* Spend about this long. */
void chip_spin_us(uint32_t us);

/* The pin that marks measured phases for a power monitor. */
void chip_trigger(bool high);

uint32_t chip_part(void);
uint64_t chip_device_id(void);
uint32_t chip_reset_reason(void);
uint32_t chip_clock_hz(void);
uint32_t chip_baud(void);

/* Deepest use of the stack since the start, in bytes. */
uint32_t chip_stack_peak_bytes(void);

#endif
