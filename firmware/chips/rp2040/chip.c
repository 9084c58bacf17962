/* "RP" is the RP2040 Datasheet, build of 2024-10-15. */
#include "../chip.h"

#include "../cortex_m.h"
#include "bits.h"
#include "board.h"
#include "clocks.h"
#include "registers.h"
#include "reset.h"
#include "uart.h"

#define TRIGGER_BIT (1u << BOARD_TRIGGER_PIN)
#define CYCLES_PER_US (BOARD_CLOCK_HZ / 1000000u)
#define SPIN_CYCLES 19u /* of one turn of the loop below: 16 + SUBS 1 + taken branch 2 (Cortex-M0+ TRM, 3.3) */
#define SYSTICK_MASK 0x00FFFFFFu
#define SYSTICK_HALF 0x00800000u

/* What the firmware uses. A debug probe's reset leaves them running. */
#define OWN_BLOCKS \
    (RESETS_RESET_DMA | RESETS_RESET_IO_BANK0 | RESETS_RESET_PADS_BANK0 | RESETS_RESET_TIMER | RESETS_RESET_UART0)

static uint32_t reset_reason;
static uint32_t counter_phase; /* of SysTick against TIMER, in cycles */

static void read_reset_reason(void)
{
    const uint32_t watchdog = WATCHDOG_REASON, chip = VREG_AND_CHIP_RESET_CHIP_RESET, fault = WATCHDOG_SCRATCH1;
    uint32_t reason;
    if ((fault & RESET_FAULT_MASK) == (RESET_FAULT & RESET_FAULT_MASK))
        reason = CHIP_RESET_SOFTWARE | (fault & ~RESET_FAULT_MASK) << CHIP_RESET_EXCEPTION_SHIFT;
    else if (WATCHDOG_SCRATCH0 == RESET_RUNNING || (watchdog & WATCHDOG_REASON_FORCE) != 0)
        reason = CHIP_RESET_SOFTWARE; /* the chip's flags below are those of an earlier reset */
    else if ((watchdog & WATCHDOG_REASON_TIMER) != 0)
        reason = CHIP_RESET_WATCHDOG; /* also how the boot ROM starts what came over USB */
    else if ((chip & VREG_AND_CHIP_RESET_CHIP_RESET_HAD_PSM_RESTART) != 0)
        reason = CHIP_RESET_DEBUG;
    else if ((chip & VREG_AND_CHIP_RESET_CHIP_RESET_HAD_RUN) != 0)
        reason = CHIP_RESET_PIN;
    else
        reason = (chip & VREG_AND_CHIP_RESET_CHIP_RESET_HAD_POR) != 0 ? CHIP_RESET_POWER : CHIP_RESET_OTHER;
    WATCHDOG_SCRATCH0 = RESET_RUNNING;
    WATCHDOG_SCRATCH1 = 0;
    reset_reason = reason;
}

_Noreturn void reset_all(void)
{
    PSM_WDSEL = ((PSM_WDSEL_PROC1 << 1) - 1u) & ~(PSM_WDSEL_ROSC | PSM_WDSEL_XOSC);
    bits_set(&WATCHDOG_CTRL, WATCHDOG_CTRL_TRIGGER);
    for (;;)
        core_dsb();
}

void chip_start(void)
{
    read_reset_reason();
    clocks_start();
    bits_set(&RESETS_RESET, OWN_BLOCKS);
    bits_clear(&RESETS_RESET, OWN_BLOCKS | RESETS_RESET_SYSINFO);
    while ((RESETS_RESET_DONE & OWN_BLOCKS) != OWN_BLOCKS)
        continue;
    TIMER_DBGPAUSE = TIMER_DBGPAUSE_DBG0; /* not while a debugger has left the other core halted */
    SIO_GPIO_OUT_CLR = TRIGGER_BIT;
    SIO_GPIO_OE_SET = TRIGGER_BIT;
    IO_BANK0_GPIO2_CTRL = IO_BANK0_GPIO2_CTRL_FUNCSEL_SIO_2;
    SYST_RVR = SYSTICK_MASK;
    SYST_CVR = 0;
    SYST_CSR = SYST_CSR_ENABLE | SYST_CSR_CORE_CLOCK;
    chip_count_cycles();
    uart_start();
}

/* SysTick counts core cycles down, 24 bits of them: 126 ms. TIMER counts microseconds of the same crystal, 32 bits: so it tells
 * how often SysTick has wrapped, without an interrupt in the middle of a phase that is being measured. Both stand still while
 * a debugger halts the core, though not to the cycle: their phase is taken anew with each session. */
static uint32_t ticks_up(void)
{
    return (SYSTICK_MASK - SYST_CVR) & SYSTICK_MASK;
}

void chip_count_cycles(void)
{
    counter_phase = ticks_up() - TIMER_TIMERAWL * CYCLES_PER_US;
}

uint32_t chip_cycles(void)
{
    const uint32_t about = TIMER_TIMERAWL * CYCLES_PER_US + counter_phase;
    const uint32_t off = (ticks_up() - about + SYSTICK_HALF) & SYSTICK_MASK; /* the difference, made positive */
    return about + off - SYSTICK_HALF;
}

void chip_spin_us(uint32_t us)
{
    uint32_t turns = us * CYCLES_PER_US / SPIN_CYCLES;
    if (turns == 0)
        return;
    __asm volatile(
        ".syntax unified\n"
        "1:\n"
        ".rept 16\n"
        "mov %0, %0\n"
        ".endr\n"
        "subs %0, %0, #1\n"
        "bne 1b\n"
        : "+l"(turns)::"cc");
}

void chip_trigger(bool high)
{
    if (high)
        SIO_GPIO_OUT_SET = TRIGGER_BIT;
    else
        SIO_GPIO_OUT_CLR = TRIGGER_BIT;
}

/* Without the revision. */
uint32_t chip_part(void)
{
    return SYSINFO_CHIP_ID & (SYSINFO_CHIP_ID_PART | SYSINFO_CHIP_ID_MANUFACTURER);
}

/* The chip has none; that of its flash can't be asked for while code or constants are read from it. */
uint64_t chip_device_id(void)
{
    return 0;
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
