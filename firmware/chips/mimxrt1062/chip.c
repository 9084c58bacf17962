/* "RM" is the i.MX RT1060 Processor Reference Manual. */
#include "../chip.h"

#include "../cortex_m.h"
#include "board.h"
#include "clocks.h"
#include "registers.h"
#include "reset.h"
#include "uart.h"

#define TRIGGER_BIT (1u << (BOARD_TRIGGER_PIN - 32u))
#define SPIN_CYCLES 17u /* of one turn of the loop below: 16 in a chain, SUBS with the predicted branch */
/* The Cortex-M7's DWT takes writes only when unlocked (Cortex-M7 TRM, DDI 0489; CoreSight, IHI 0029, LAR). */
#define DWT_LAR CORE_REGISTER(0xE0001FB0u)
#define DWT_LAR_UNLOCK 0xC5ACCE55u
#define RTWDOG_UNLOCK 0xD928C520u /* RM, RTWDOG, unlock sequence */
#define RTWDOG_LONGEST 0xFFFFu
#define PART_MASK 0xFFFF0000u /* of DIGPROG, without the revision */

static uint32_t reset_reason;

/* The watchdogs' state after a reset depends on fuses. WDOG1 and 2 have a counter that resets the chip 16 s after power-on. */
static void stop_watchdogs(void)
{
    WDOG1_WMCR &= (uint16_t)~WDOG1_WMCR_PDE;
    WDOG2_WMCR &= (uint16_t)~WDOG2_WMCR_PDE;
    if ((RTWDOG_CS & RTWDOG_CS_EN) == 0)
        return;
    if ((RTWDOG_CS & RTWDOG_CS_CMD32EN) != 0)
        RTWDOG_CNT = RTWDOG_UNLOCK;
    else {
        RTWDOG_CNT = RTWDOG_UNLOCK & 0xFFFFu;
        RTWDOG_CNT = RTWDOG_UNLOCK >> 16;
    }
    RTWDOG_TOVAL = RTWDOG_LONGEST;
    RTWDOG_CS = (RTWDOG_CS & ~RTWDOG_CS_EN) | RTWDOG_CS_UPDATE;
}

/* A debug probe may reset the core alone (VECTRESET), which leaves no flag. A lock-up and SYSRESETREQ share theirs: without the
 * mark of the fault handler either may have been. */
static void read_reset_reason(void)
{
    const uint32_t flags = SRC_SRSR, fault = SRC_GPR5;
    SRC_SRSR = flags & ~SRC_SRSR_TEMPSENSE_RST_B; /* written ones clear, but that one a zero; else they accumulate */
    const bool faulted = (fault & RESET_FAULT_MASK) == (RESET_FAULT & RESET_FAULT_MASK);
    uint32_t reason = 0, known = 0;
    const uint32_t map[][2] = {
        {SRC_SRSR_IPP_RESET_B, CHIP_RESET_POWER},
        {SRC_SRSR_LOCKUP_SYSRESETREQ, faulted ? CHIP_RESET_SOFTWARE : CHIP_RESET_SOFTWARE | CHIP_RESET_LOCKUP},
        {SRC_SRSR_IPP_USER_RESET_B, CHIP_RESET_PIN},
        {SRC_SRSR_WDOG_RST_B | SRC_SRSR_WDOG3_RST_B, CHIP_RESET_WATCHDOG},
        {SRC_SRSR_JTAG_RST_B | SRC_SRSR_JTAG_SW_RST, CHIP_RESET_DEBUG},
    };
    for (uint32_t i = 0; i < sizeof map / sizeof map[0]; i++) {
        known |= map[i][0];
        if ((flags & map[i][0]) != 0)
            reason |= map[i][1];
    }
    if ((flags & ~known) != 0)
        reason |= CHIP_RESET_OTHER;
    if (flags == 0)
        reason = SRC_GPR6 == RESET_RUNNING ? CHIP_RESET_SOFTWARE : CHIP_RESET_OTHER;
    if (faulted)
        reason |= (fault & ~RESET_FAULT_MASK) << CHIP_RESET_EXCEPTION_SHIFT;
    SRC_GPR5 = 0;
    SRC_GPR6 = RESET_RUNNING;
    reset_reason = reason;
}

void chip_start(void)
{
    stop_watchdogs();
    read_reset_reason();
    clocks_start();
    /* Else the DMA doesn't reach DTCM while the core sleeps (RM, IOMUXC_GPR, GPR1). */
    IOMUXC_GPR_GPR1 |= IOMUXC_GPR_GPR1_CM7_FORCE_HCLK_EN;
    GPIO1_DR_CLEAR = TRIGGER_BIT;
    GPIO1_GDIR |= TRIGGER_BIT;
    IOMUXC_SW_MUX_CTL_PAD_GPIO_AD_B1_02 = IOMUXC_SW_MUX_CTL_PAD_GPIO_AD_B1_02_MUX_MODE_ALT5;
    chip_count_cycles();
    uart_start();
}

void chip_count_cycles(void)
{
    DEMCR |= DEMCR_TRCENA;
    DWT_LAR = DWT_LAR_UNLOCK;
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
        GPIO1_DR_SET = TRIGGER_BIT;
    else
        GPIO1_DR_CLEAR = TRIGGER_BIT;
}

uint32_t chip_part(void)
{
    return USB_ANALOG_DIGPROG & PART_MASK;
}

uint64_t chip_device_id(void)
{
    return (uint64_t)OCOTP_CFG1 << 32 | OCOTP_CFG0;
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
