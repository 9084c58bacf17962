/* LPUART1 with eDMA and without interrupt handlers ("RM", i.MX RT1060 Processor Reference Manual: LPUART, eDMA, DMAMUX).
 *
 * Receiving: channel RECEIVE moves half a ring's bytes, one per request, then fetches its next transfer descriptor from RAM (RM,
 * eDMA, scatter/gather): that of the other half if the CPU has named it in time, else that of the same half again. The CPU
 * names it once per half, by one word of the channel. The UART's FIFO holds what comes meanwhile.
 *
 * The DMA takes each byte from the FIFO at once, so that no receive interrupt would tell of it: what wakes the core is the edge
 * of a start bit (STAT.RXEDGIF).
 */
#include "uart.h"

#include "../chip.h"
#include "../cortex_m.h"
#include "board.h"
#include "clocks.h"
#include "link.h"
#include "port.h"
#include "registers.h"

#define RTS_BIT (1u << (BOARD_RTS_PIN - 32u))

#define RECEIVE 0u /* channels; their numbers are part of the register names below */
#define TRANSMIT 1u
#define SOURCE_LPUART1_TX 2u /* RM, DMA MUX requests; NXP's MIMXRT1062.h, kDmaRequestMuxLPUART1Tx */
#define SOURCE_LPUART1_RX 3u

/* 24 MHz / (24 * 1), exactly. */
#define OVERSAMPLING 24u
#define BAUD_DIVISOR 1u
_Static_assert(CRYSTAL_HZ == BOARD_BAUD * OVERSAMPLING * BAUD_DIVISOR, "the baud rate");
#define BAUD_SETTING \
    (LPUART1_BAUD_OSR_OSR_23 | BAUD_DIVISOR | LPUART1_BAUD_RDMAE | LPUART1_BAUD_TDMAE)
#define ERRORS (LPUART1_STAT_OR | LPUART1_STAT_NF | LPUART1_STAT_FE | LPUART1_STAT_PF)

/* How long to let bytes gather before the next look: ten byte times, far more than the way through the FIFO, and short enough
 * for docs/wire.md's promise to withdraw RTS within 150 µs of a frame's end. It also covers the rest of the byte whose start
 * bit has woken the core. */
#define GATHER_US 100u

/* Between two looks at a frame that is still leaving: a fifth of a byte's time. */
#define POLL_US 2u

/* RM, eDMA, transfer control descriptor. */
struct descriptor {
    uint32_t from;
    int16_t from_step;
    uint16_t sizes; /* 0: bytes on both sides */
    uint32_t bytes_per_request;
    int32_t from_last;
    uint32_t to;
    int16_t to_step;
    uint16_t left;
    uint32_t next; /* address of the next descriptor, a multiple of 32 */
    uint16_t control, count;
};
_Static_assert(sizeof(struct descriptor) == 32u, "RM, eDMA");

#define CONTROL_INTERRUPT 0x0002u /* INTMAJOR: sets the channel's bit in INT at the end */
#define CONTROL_ONCE 0x0008u      /* DREQ */
#define CONTROL_GATHER 0x0010u    /* ESG */
#define FETCH_PATIENCE_POLLS 100u /* a fetch takes far less than one poll's few hundred nanoseconds */
#define LONGEST 0x7FFFu           /* of `left` and `count`, without links */
_Static_assert(LINK_MAX_RING_HALF_BYTES <= LONGEST, "a descriptor is to fill half a ring");

#define CHANNEL(first) ((volatile struct descriptor *)(uintptr_t)&(first))
#define RECEIVER CHANNEL(DMA0_TCD0_SADDR)
#define TRANSMITTER CHANNEL(DMA0_TCD1_SADDR)

/* Of each half: what the channel goes on with when the half's turn comes, and what it goes on with unless told otherwise. Both
 * fill the half; that their addresses differ shows which of them the channel has fetched. */
static volatile struct descriptor turn[2] __attribute__((aligned(32))), again[2] __attribute__((aligned(32)));
static uint32_t receive_half_bytes;
static uint32_t filling; /* which half, 0 or 1 */

void uart_start(void)
{
    GPIO1_DR_SET = RTS_BIT; /* idle high; RTS is asserted low, by port_rts */
    GPIO1_GDIR |= RTS_BIT;
    IOMUXC_SW_MUX_CTL_PAD_GPIO_AD_B1_03 = IOMUXC_SW_MUX_CTL_PAD_GPIO_AD_B1_03_MUX_MODE_ALT5;
    IOMUXC_SW_MUX_CTL_PAD_GPIO_AD_B0_12 = IOMUXC_SW_MUX_CTL_PAD_GPIO_AD_B0_12_MUX_MODE_ALT2;
    /* The pull-up keeps the line idle while nobody drives it. */
    IOMUXC_SW_PAD_CTL_PAD_GPIO_AD_B0_13 =
        IOMUXC_SW_PAD_CTL_PAD_GPIO_AD_B0_13_PKE | IOMUXC_SW_PAD_CTL_PAD_GPIO_AD_B0_13_PUE |
        IOMUXC_SW_PAD_CTL_PAD_GPIO_AD_B0_13_PUS_PUS_2_100K_OHM_PULL_UP | IOMUXC_SW_PAD_CTL_PAD_GPIO_AD_B0_13_HYS;
    IOMUXC_SW_MUX_CTL_PAD_GPIO_AD_B0_13 = IOMUXC_SW_MUX_CTL_PAD_GPIO_AD_B0_13_MUX_MODE_ALT2;

    /* A debug probe's reset of the core leaves UART and DMA as they were. */
    DMA0_CERQ = RECEIVE;
    DMA0_CERQ = TRANSMIT;
    DMA0_CR &= ~(DMA0_CR_EMLM | DMA0_CR_HALT);
    LPUART1_CTRL = 0;
    LPUART1_BAUD = BAUD_SETTING;
    LPUART1_FIFO = LPUART1_FIFO_RXFE | LPUART1_FIFO_TXFE | LPUART1_FIFO_RXFLUSH; /* watermarks stay 0: each byte asks */
    LPUART1_CTRL = LPUART1_CTRL_RE | LPUART1_CTRL_TE;

    DMAMUX_CHCFG_0 = 0;
    DMAMUX_CHCFG_0 = DMAMUX_CHCFG_0_ENBL | SOURCE_LPUART1_RX;
    DMAMUX_CHCFG_1 = 0;
    DMAMUX_CHCFG_1 = DMAMUX_CHCFG_0_ENBL | SOURCE_LPUART1_TX;
    NVIC_ISER(LPUART1_INTERRUPT) = NVIC_BIT(LPUART1_INTERRUPT);
}

static uint32_t address_of(const volatile struct descriptor *descriptor)
{
    return (uint32_t)(uintptr_t)descriptor;
}

static void stop_receiver(void)
{
    DMA0_CERQ = RECEIVE;
    while ((DMA0_CR & DMA0_CR_ACTIVE) != 0) /* a byte on its way still arrives */
        continue;
    DMA0_CINT = RECEIVE;
    LPUART1_FIFO |= LPUART1_FIFO_RXFLUSH;
    LPUART1_STAT = ERRORS;
}

static void describe(volatile struct descriptor *to, const uint8_t *half, uint32_t next)
{
    to->from = (uint32_t)(uintptr_t)&LPUART1_DATA;
    to->from_step = 0;
    to->sizes = 0;
    to->bytes_per_request = 1u;
    to->from_last = 0;
    to->to = (uint32_t)(uintptr_t)half;
    to->to_step = 1;
    to->left = (uint16_t)receive_half_bytes;
    to->next = next;
    to->control = 0; /* DONE must be clear before ESG can be set (RM, eDMA, TCD_CSR) */
    to->control = CONTROL_INTERRUPT | CONTROL_GATHER;
    to->count = (uint16_t)receive_half_bytes;
}

void port_receive(uint8_t *ring, uint32_t half_bytes)
{
    stop_receiver();
    receive_half_bytes = half_bytes;
    filling = 0;
    for (uint32_t half = 0; half < 2u; half++) {
        describe(&turn[half], ring + half * half_bytes, address_of(&again[half]));
        describe(&again[half], ring + half * half_bytes, address_of(&again[half]));
    }
    describe(RECEIVER, ring, address_of(&turn[1]));
    core_dsb(); /* the ring's blanks and the descriptors are in RAM before the DMA comes there */
    DMA0_SERQ = RECEIVE;
}

/* The end of a half sets INT, perhaps a little before the next descriptor is fetched: only then the channel's word may change. A
 * half that came too late may have set INT again after it was cleared here; then nothing new has begun. */
bool port_crossed(void)
{
    core_dsb();
    if ((DMA0_INT & 1u << RECEIVE) == 0)
        return false;
    DMA0_CINT = RECEIVE;
    const uint32_t begun = 1u - filling;
    for (uint32_t polls = 0; polls < FETCH_PATIENCE_POLLS; polls++)
        if (RECEIVER->next == address_of(&again[begun])) {
            RECEIVER->next = address_of(&turn[filling]);
            filling = begun;
            return true;
        }
    RECEIVER->next = address_of(&turn[begun]);
    return false;
}

void port_transmit(const uint8_t *frame, uint32_t bytes)
{
    while ((DMA0_ERQ & 1u << TRANSMIT) != 0)
        chip_spin_us(POLL_US);
    TRANSMITTER->from = (uint32_t)(uintptr_t)frame;
    TRANSMITTER->from_step = 1;
    TRANSMITTER->sizes = 0;
    TRANSMITTER->bytes_per_request = 1u;
    TRANSMITTER->from_last = 0;
    TRANSMITTER->to = (uint32_t)(uintptr_t)&LPUART1_DATA;
    TRANSMITTER->to_step = 0;
    TRANSMITTER->left = (uint16_t)bytes;
    TRANSMITTER->next = 0;
    TRANSMITTER->control = CONTROL_ONCE;
    TRANSMITTER->count = (uint16_t)bytes;
    core_dsb(); /* the frame is in RAM before the DMA reads it */
    DMA0_SERQ = TRANSMIT;
}

void port_rts(bool asserted)
{
    if (asserted)
        GPIO1_DR_CLEAR = RTS_BIT;
    else
        GPIO1_DR_SET = RTS_BIT;
}

/* Let bytes gather, then the caller looks. `may_sleep` ends a search of the ring in pieces: only then the edge is forgotten, so
 * that a byte that came between two of its pieces is not slept over. While the core computes no interrupt is enabled. */
void chip_wait(bool may_sleep)
{
    if ((LPUART1_STAT & LPUART1_STAT_OR) != 0)
        LPUART1_STAT = LPUART1_STAT_OR; /* nothing is received while it stands */
    if (may_sleep && (LPUART1_STAT & LPUART1_STAT_RXEDGIF) == 0) {
        NVIC_ICPR(LPUART1_INTERRUPT) = NVIC_BIT(LPUART1_INTERRUPT);
        LPUART1_BAUD = BAUD_SETTING | LPUART1_BAUD_RXEDGIE;
        core_dsb();
        if ((LPUART1_STAT & LPUART1_STAT_RXEDGIF) == 0)
            core_wfi(); /* PRIMASK holds back the handler; an interrupt pending already makes this a no-op */
        LPUART1_BAUD = BAUD_SETTING;
    }
    if (may_sleep)
        LPUART1_STAT = LPUART1_STAT_RXEDGIF; /* written ones clear */
    chip_spin_us(GATHER_US);
}
