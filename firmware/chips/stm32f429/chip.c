/* "RM" is ST's reference manual RM0090 rev 19. */
#include "../chip.h"

#include "../cortex_m.h"
#include "board.h"
#include "clocks.h"
#include "../armv7m/fault.h"
#include "fields.h"
#include "registers.h"
#include "uart.h"

#define SPIN_CYCLES 20u /* of one turn of the loop below: 16 + SUBS 1 + taken branch 1 + P, P = 1..3 */
#define OUTPUT 1u       /* GPIOx_MODER (RM 8.4.1) */

/* 96 bits, not in the SVD file: wafer coordinates; lot (24 bits) and wafer number; the rest of the lot (RM 39.1). */
#define UNIQUE_ID(word) REGISTER(0x1FFF7A10u + 4u * (word))

static uint32_t reset_reason;

/* RCC_CSR (RM 6.3.21). Each reset pulls the pin, so that PADRSTF says something only when it is alone. */
static void read_reset_reason(void)
{
    const uint32_t flags = RCC_CSR;
    RCC_CSR |= RCC_CSR_RMVF; /* the flags accumulate otherwise */
    uint32_t reason;
    if ((flags & (RCC_CSR_PORRSTF | RCC_CSR_BORRSTF)) != 0)
        reason = CHIP_RESET_POWER;
    else if ((flags & (RCC_CSR_WDGRSTF | RCC_CSR_WWDGRSTF)) != 0)
        reason = CHIP_RESET_WATCHDOG;
    else if ((flags & RCC_CSR_SFTRSTF) != 0)
        reason = CHIP_RESET_SOFTWARE;
    else
        reason = (flags & RCC_CSR_PADRSTF) != 0 ? CHIP_RESET_PIN : CHIP_RESET_OTHER;
    if (fault_record.magic == FAULT_MAGIC)
        reason |= (fault_record.exception & 0xFFu) << CHIP_RESET_EXCEPTION_SHIFT;
    fault_record.magic = 0;
    reset_reason = reason;
}

void chip_start(void)
{
    read_reset_reason();
    clocks_start();
    chip_count_cycles();
    uart_start();
    chip_trigger(false);
    GPIOD_MODER = WITH_FIELD(GPIOD_MODER, GPIOD_MODER_MODER11, OUTPUT);
}

void chip_count_cycles(void)
{
    DEMCR |= DEMCR_TRCENA;
    DWT_CTRL |= DWT_CTRL_CYCCNTENA;
}

uint32_t chip_cycles(void)
{
    return DWT_CYCCNT;
}

void chip_spin_us(uint32_t us)
{
    uint32_t turns = us * (BOARD_CLOCK_HZ / 1000000u) / SPIN_CYCLES;
    if (turns == 0)
        return;
    __asm volatile(
        "1:\n"
        ".rept 16\n"
        "mov %0, %0\n"
        ".endr\n"
        "subs %0, %0, #1\n"
        "bne 1b\n"
        : "+r"(turns)::"cc");
}

void chip_trigger(bool high)
{
    GPIOD_BSRR = high ? GPIOD_BSRR_BS11 : GPIOD_BSRR_BR11;
}

/* Without the revision. */
uint32_t chip_part(void)
{
    return DBG_DBGMCU_IDCODE & DBG_DBGMCU_IDCODE_DEV_ID;
}

/* 64 of 96 bits: both parts of the lot lie on each other. */
uint64_t chip_device_id(void)
{
    return (uint64_t)(UNIQUE_ID(1u) ^ UNIQUE_ID(2u)) << 32 | UNIQUE_ID(0u);
}

uint32_t chip_reset_reason(void)
{
    return reset_reason;
}

uint32_t chip_clock_hz(void)
{
    return BOARD_CLOCK_HZ;
}

uint32_t chip_baud(void)
{
    return BOARD_BAUD;
}
