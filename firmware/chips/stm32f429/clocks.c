/* RM0090 rev 19: 3.5 flash, 5.1.4 voltage regulator and over-drive, 6 RCC.
 *
 * Nothing here gives up waiting: without its clock the board has no frequency that a UART could use, and a debug probe shows
 * where the core stands.
 */
#include "clocks.h"

#include "board.h"
#include "fields.h"
#include "registers.h"

#define HSE_HZ 8000000u /* the ST-LINK's MCO feeds OSC_IN (UM1974, "OSC clock supply") */

/* The PLL compares at 1 to 2 MHz, 2 MHz gives the least jitter; its VCO makes 100 to 432 MHz (RM 6.3.2). */
#define PLL_M 4u
#define PLL_N 180u
#define PLL_P 2u
#define PLL_Q 8u /* 45 MHz for USB and SDIO, which are off; at most 48 MHz */
_Static_assert(HSE_HZ / PLL_M * PLL_N / PLL_P == BOARD_CLOCK_HZ, "the PLL's setting");

#define PPRE_DIV2 4u /* RM 6.3.3; APB1 runs at 45 MHz at most, APB2 at 90 MHz (datasheet DS9405, table 17) */
#define PPRE_DIV4 5u
_Static_assert(BOARD_CLOCK_HZ / 4u == CLOCKS_APB1_HZ, "APB1");

#define WAIT_STATES 5u /* 151 to 180 MHz at 2.7 V or more (datasheet, table 18) */
#define VOS_SCALE_1 3u /* above 144 MHz (RM 5.5.1); the reset value, and it takes effect when the PLL runs */

static void await(volatile uint32_t *reg, uint32_t bits)
{
    while ((*reg & bits) != bits)
        continue;
}

static void start_pll(void)
{
    RCC_CR |= RCC_CR_HSEBYP;
    RCC_CR |= RCC_CR_HSEON;
    await(&RCC_CR, RCC_CR_HSERDY);
    RCC_PLLCFGR = PLL_M * RCC_PLLCFGR_PLLM0 | PLL_N * RCC_PLLCFGR_PLLN0 | (PLL_P / 2u - 1u) * RCC_PLLCFGR_PLLP0 |
                  PLL_Q * RCC_PLLCFGR_PLLQ0 | RCC_PLLCFGR_PLLSRC;
    RCC_CR |= RCC_CR_PLLON;
}

/* While the PLL starts: over 168 MHz the core needs it (RM 5.1.4, "entering over-drive mode"). */
static void start_over_drive(void)
{
    PWR_CR |= PWR_CR_ODEN;
    await(&PWR_CSR, PWR_CSR_ODRDY);
    PWR_CR |= PWR_CR_ODSWEN;
    await(&PWR_CSR, PWR_CSR_ODSWRDY);
}

void clocks_start(void)
{
    RCC_APB1ENR |= RCC_APB1ENR_PWREN;
    (void)RCC_APB1ENR; /* a clock reaches its block two cycles after the write (errata sheet ES0206, 2.2.7) */
    PWR_CR = WITH_FIELD(PWR_CR, PWR_CR_VOS, VOS_SCALE_1);
    start_pll();
    start_over_drive();
    await(&RCC_CR, RCC_CR_PLLRDY);
    FLASH_ACR = IN_FIELD(FLASH_ACR_LATENCY, WAIT_STATES) | FLASH_ACR_PRFTEN | FLASH_ACR_ICEN | FLASH_ACR_DCEN;
    while ((FLASH_ACR & FLASH_ACR_LATENCY) != IN_FIELD(FLASH_ACR_LATENCY, WAIT_STATES))
        continue;
    RCC_CFGR = IN_FIELD(RCC_CFGR_PPRE1, PPRE_DIV4) | IN_FIELD(RCC_CFGR_PPRE2, PPRE_DIV2);
    RCC_CFGR |= RCC_CFGR_SW1; /* 2: the PLL */
    while ((RCC_CFGR & (RCC_CFGR_SWS0 | RCC_CFGR_SWS1)) != RCC_CFGR_SWS1)
        continue;
}
