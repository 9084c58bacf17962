#include "../chip.h"

#include "../cortex_m.h"
#include "board.h"
#include "../armv7m/fault.h"
#include "registers.h"
#include "uart.h"

#define TRIGGER_BIT (1u << (BOARD_TRIGGER_PIN - 32u))

/* 20 ms in all. The crystal starts within 1 ms or so; if it doesn't, the RC oscillator has to do. */
#define HFXO_POLL_US 10u
#define HFXO_PATIENCE_POLLS 2000u

#define SPIN_CYCLES 20u /* of one turn of the loop below: 16 + SUBS 1 + taken branch 1 + P, P = 1..3 */

/* From build code F on the debug port stays open only if hardware and software both ask for it after each reset: UICR says
 * HwDisabled, and the firmware writes SwDisable. Not in the SVD: Nordic's MDK, nrf52840.h, NRF_APPROTECT_Type (base
 * 0x40000000, DISABLE at 0x558) and nrf52_approtect.h. */
#define APPROTECT_DISABLE REGISTER(0x40000558u)
#define APPROTECT_OPEN 0x5Au /* HwDisabled in UICR, SwDisable in DISABLE */

static uint32_t reset_reason;

static void read_reset_reason(void)
{
    const uint32_t flags = POWER_RESETREAS;
    POWER_RESETREAS = flags; /* written ones clear; the flags accumulate otherwise (PS v1.7, 5.3.7.2) */
    uint32_t reason = 0;
    if (flags == 0)
        reason = CHIP_RESET_POWER;
    else if ((flags & POWER_RESETREAS_RESETPIN) != 0)
        reason = CHIP_RESET_PIN; /* alone: other flags may be set by mistake then (errata, anomaly 136) */
    else {
        uint32_t known = 0;
        const uint32_t map[][2] = {
            {POWER_RESETREAS_DOG, CHIP_RESET_WATCHDOG},    {POWER_RESETREAS_SREQ, CHIP_RESET_SOFTWARE},
            {POWER_RESETREAS_LOCKUP, CHIP_RESET_LOCKUP},   {POWER_RESETREAS_DIF, CHIP_RESET_DEBUG},
        };
        for (uint32_t i = 0; i < sizeof map / sizeof map[0]; i++) {
            known |= map[i][0];
            if ((flags & map[i][0]) != 0)
                reason |= map[i][1];
        }
        if ((flags & ~known) != 0)
            reason |= CHIP_RESET_OTHER;
    }
    if (fault_record.magic == FAULT_MAGIC)
        reason |= (fault_record.exception & 0xFFu) << CHIP_RESET_EXCEPTION_SHIFT;
    fault_record.magic = 0;
    reset_reason = reason;
}

static void keep_debug_port_open(void)
{
    if ((UICR_APPROTECT & 0xFFu) == APPROTECT_OPEN)
        APPROTECT_DISABLE = APPROTECT_OPEN;
}

void chip_start(void)
{
    keep_debug_port_open();
    read_reset_reason();
    POWER_DCDCEN = POWER_DCDCEN_DCDCEN_ENABLED; /* the DK carries the inductor that this needs */
    NVMC_ICACHECNF = NVMC_ICACHECNF_CACHEEN_ENABLED;

    CLOCK_EVENTS_HFCLKSTARTED = 0;
    CLOCK_TASKS_HFCLKSTART = 1;
    for (uint32_t polls = 0; CLOCK_EVENTS_HFCLKSTARTED == 0 && polls < HFXO_PATIENCE_POLLS; polls++)
        chip_spin_us(HFXO_POLL_US);

    chip_count_cycles();
    P1_OUTCLR = TRIGGER_BIT;
    P1_DIRSET = TRIGGER_BIT;
    uart_start();
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
    if (high)
        P1_OUTSET = TRIGGER_BIT;
    else
        P1_OUTCLR = TRIGGER_BIT;
}

uint32_t chip_part(void)
{
    return FICR_INFO_PART;
}

uint64_t chip_device_id(void)
{
    return (uint64_t)FICR_DEVICEID_1 << 32 | FICR_DEVICEID_0;
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
