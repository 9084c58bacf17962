/* "RM" is the i.MX RT1060 Processor Reference Manual: CCM and DCDC. The order is that of NXP's SDK (evkmimxrt1060,
 * clock_config.c, BOARD_BootClockRUN).
 *
 * FlexSPI has a clock of its own, which the boot ROM has set up: nothing here touches it. Nothing gives up waiting: without its
 * crystal the board has no clock that a UART could use, and a debug probe shows where the core stands.
 */
#include "clocks.h"

#include "board.h"
#include "registers.h"

/* VDD_SOC is 0.8 V + 25 mV * TRG: 1.275 V, as NXP's SDK sets it. For more than 528 MHz the core needs at least 1.25 V (i.MX
 * RT1060 Data Sheet for Consumer Products, operating ranges, overdrive). */
#define TRG_1275_MV 0x13u

/* 24 MHz * 100 / 2 = 1200 MHz, / 2 = 600 MHz; IPG is a quarter of that, its limit of 150 MHz (RM, CCM, clock root limits). */
#define PLL_FACTOR 100u
_Static_assert(CRYSTAL_HZ / 2u * PLL_FACTOR / 2u == BOARD_CLOCK_HZ, "the PLL's setting");

static void await(volatile uint32_t *reg, uint32_t bits, uint32_t value)
{
    while ((*reg & bits) != value)
        continue;
}

/* So that PLL and dividers can change: the core and its buses run from the crystal itself. */
static void leave_pll(void)
{
    CCM_CBCMR = (CCM_CBCMR & ~CCM_CBCMR_PERIPH_CLK2_SEL) | CCM_CBCMR_PERIPH_CLK2_SEL_PERIPH_CLK2_SEL_1;
    CCM_CBCDR &= ~CCM_CBCDR_PERIPH_CLK2_PODF;
    CCM_CBCDR |= CCM_CBCDR_PERIPH_CLK_SEL;
    await(&CCM_CDHIPR, CCM_CDHIPR_PERIPH_CLK_SEL_BUSY, 0);
}

static void raise_voltage(void)
{
    DCDC_REG3 = (DCDC_REG3 & ~DCDC_REG3_TRG) | TRG_1275_MV;
    await(&DCDC_REG0, DCDC_REG0_STS_DC_OK, DCDC_REG0_STS_DC_OK);
}

static void start_pll(void)
{
    CCM_ANALOG_PLL_ARM = CCM_ANALOG_PLL_ARM_BYPASS | CCM_ANALOG_PLL_ARM_ENABLE | PLL_FACTOR;
    await(&CCM_ANALOG_PLL_ARM, CCM_ANALOG_PLL_ARM_LOCK, CCM_ANALOG_PLL_ARM_LOCK);
    CCM_ANALOG_PLL_ARM = CCM_ANALOG_PLL_ARM_ENABLE | PLL_FACTOR;
}

static void divide(void)
{
    CCM_CACRR = CCM_CACRR_ARM_PODF_ARM_PODF_1;
    await(&CCM_CDHIPR, CCM_CDHIPR_ARM_PODF_BUSY, 0);
    CCM_CBCDR = (CCM_CBCDR & ~(CCM_CBCDR_AHB_PODF | CCM_CBCDR_IPG_PODF)) | CCM_CBCDR_IPG_PODF_IPG_PODF_3;
    await(&CCM_CDHIPR, CCM_CDHIPR_AHB_PODF_BUSY, 0);
}

void clocks_start(void)
{
    leave_pll();
    raise_voltage();
    start_pll();
    divide();
    CCM_CBCMR |= CCM_CBCMR_PRE_PERIPH_CLK_SEL_PRE_PERIPH_CLK_SEL_3;
    CCM_CBCDR &= ~CCM_CBCDR_PERIPH_CLK_SEL;
    await(&CCM_CDHIPR, CCM_CDHIPR_PERIPH_CLK_SEL_BUSY, 0);
    CCM_CSCDR1 = (CCM_CSCDR1 & ~CCM_CSCDR1_UART_CLK_PODF) | CCM_CSCDR1_UART_CLK_SEL;
    /* The boot ROM may have closed some of these: GPIO1; OCOTP; IOMUXC and its GPRs; DMA, LPUART1. */
    CCM_CCGR1 |= CCM_CCGR1_CG13;
    CCM_CCGR2 |= CCM_CCGR2_CG6;
    CCM_CCGR4 |= CCM_CCGR4_CG1 | CCM_CCGR4_CG2;
    CCM_CCGR5 |= CCM_CCGR5_CG3 | CCM_CCGR5_CG12;
    CCM_CLPCR &= ~CCM_CLPCR_LPM; /* WFI stops the core alone */
}
