/* RP2040 Datasheet, "RP": 2.15 clocks, 2.16 crystal oscillator, 2.18 PLL.
 *
 * A debug probe's reset reaches the core only: clk_sys may run from the PLL when this begins. Nothing here gives up waiting: without
 * its crystal the board has no clock that a UART could use, and a debug probe shows where the core stands.
 */
#include "clocks.h"

#include "bits.h"
#include "board.h"
#include "registers.h"

#define CRYSTAL_HZ 12000000u /* the Pico's, and the only one that the boot ROM's USB code supports (RP 2.16.1) */
#define STARTUP_US 1000u     /* the Pico's crystal is stable then (RP 2.16.3) */

/* The VCO makes 750 to 1600 MHz from 5 MHz or more (RP 2.18.2): 12 MHz * 133 = 1596 MHz, / 6 / 2 = 133 MHz. */
#define PLL_FEEDBACK 133u
#define PLL_DIVIDER_1 6u
#define PLL_DIVIDER_2 2u
_Static_assert(CRYSTAL_HZ / (PLL_DIVIDER_1 * PLL_DIVIDER_2) * PLL_FEEDBACK == BOARD_CLOCK_HZ, "the PLL's setting");
_Static_assert(CRYSTAL_HZ % (PLL_DIVIDER_1 * PLL_DIVIDER_2) == 0, "the PLL's setting");

static void await(volatile uint32_t *reg, uint32_t bits)
{
    while ((*reg & bits) != bits)
        continue;
}

/* SELECTED has one bit per source (RP 2.15.3.2). */
static void leave_pll(void)
{
    CLOCKS_CLK_SYS_RESUS_CTRL = 0;
    bits_clear(&CLOCKS_CLK_SYS_CTRL, CLOCKS_CLK_SYS_CTRL_SRC);
    await(&CLOCKS_CLK_SYS_SELECTED, 1u);
    bits_clear(&CLOCKS_CLK_REF_CTRL, CLOCKS_CLK_REF_CTRL_SRC);
    await(&CLOCKS_CLK_REF_SELECTED, 1u);
}

static void start_crystal(void)
{
    XOSC_CTRL = XOSC_CTRL_FREQ_RANGE_1_15MHZ;
    XOSC_STARTUP = (CRYSTAL_HZ / 1000000u * STARTUP_US + 255u) / 256u; /* in units of 256 periods (RP 2.16.3) */
    bits_set(&XOSC_CTRL, XOSC_CTRL_ENABLE_ENABLE);
    await(&XOSC_STATUS, XOSC_STATUS_STABLE);
}

static void start_pll(void)
{
    bits_set(&RESETS_RESET, RESETS_RESET_PLL_SYS);
    bits_clear(&RESETS_RESET, RESETS_RESET_PLL_SYS);
    await(&RESETS_RESET_DONE, RESETS_RESET_PLL_SYS);
    PLL_SYS_CS = 1u; /* reference divider */
    PLL_SYS_FBDIV_INT = PLL_FEEDBACK;
    bits_clear(&PLL_SYS_PWR, PLL_SYS_PWR_PD | PLL_SYS_PWR_VCOPD);
    await(&PLL_SYS_CS, PLL_SYS_CS_LOCK);
    PLL_SYS_PRIM =
        IN_FIELD(PLL_SYS_PRIM_POSTDIV1, PLL_DIVIDER_1) | IN_FIELD(PLL_SYS_PRIM_POSTDIV2, PLL_DIVIDER_2);
    bits_clear(&PLL_SYS_PWR, PLL_SYS_PWR_POSTDIVPD);
}

void clocks_start(void)
{
    leave_pll();
    start_crystal();
    start_pll();
    CLOCKS_CLK_REF_CTRL = CLOCKS_CLK_REF_CTRL_SRC_XOSC_CLKSRC;
    await(&CLOCKS_CLK_REF_SELECTED, 1u << CLOCKS_CLK_REF_CTRL_SRC_XOSC_CLKSRC);
    /* First the auxiliary source, then the switch to it, which alone is free of glitches (RP 2.15.3.2). */
    CLOCKS_CLK_SYS_CTRL = CLOCKS_CLK_SYS_CTRL_AUXSRC_CLKSRC_PLL_SYS;
    bits_set(&CLOCKS_CLK_SYS_CTRL, CLOCKS_CLK_SYS_CTRL_SRC_CLKSRC_CLK_SYS_AUX);
    await(&CLOCKS_CLK_SYS_SELECTED, 1u << CLOCKS_CLK_SYS_CTRL_SRC_CLKSRC_CLK_SYS_AUX);
    CLOCKS_CLK_PERI_CTRL = CLOCKS_CLK_PERI_CTRL_ENABLE | CLOCKS_CLK_PERI_CTRL_AUXSRC_CLK_SYS;
    WATCHDOG_TICK = WATCHDOG_TICK_ENABLE | CRYSTAL_HZ / 1000000u;
}
