/* UART0, a PL011, with DMA and without interrupt handlers (RP2040 Datasheet, "RP": 4.2 UART, 2.5 DMA).
 *
 * Receiving: channel DATA moves half a ring's bytes from the receive FIFO, then chains to channel NEXT, which writes the
 * address in `next_half` into DATA's WRITE_ADDR and so starts it again (RP 2.5.6.2, control blocks). The CPU changes `next_half`
 * once per half; if it comes too late, DATA fills the same half again. The FIFO holds what comes meanwhile.
 *
 * The DMA takes each byte from the FIFO at once, so that none of the UART's own interrupts would tell of it: what wakes the
 * core is the falling edge of a start bit on the RX pin, latched by IO_BANK0 (RP 2.19.3).
 */
#include "uart.h"

#include "../chip.h"
#include "../cortex_m.h"
#include "bits.h"
#include "board.h"
#include "port.h"
#include "registers.h"

#define RTS_BIT (1u << BOARD_RTS_PIN)
#define RX_EDGE IO_BANK0_INTR0_GPIO1_EDGE_LOW

/* DMA channels: their numbers are part of the register names below. */
#define CHANNEL_DATA 0u
#define CHANNEL_NEXT 1u
#define CHANNEL_SEND 2u

/* A rate of clk_peri / (16 * (IBRD + FBRD / 64)); 133 MHz gives 1 Mbaud exactly: 8 + 20/64 (RP 4.2.3.2.1). */
#define BAUD_DIVISOR_64THS ((4u * BOARD_CLOCK_HZ + BOARD_BAUD / 2u) / BOARD_BAUD)
#define EIGHT_BITS 3u /* UARTLCR_H.WLEN */

/* How long to let bytes gather before the next look: ten byte times, far more than the way through the FIFO, and short enough
 * for docs/wire.md's promise to withdraw RTS within 150 µs of a frame's end. It also covers the rest of the byte whose start
 * bit has woken the core. */
#define GATHER_US 100u

/* Between two looks at a frame that is still leaving: a fifth of a byte's time. */
#define POLL_US 2u

#define DATA_CONTROL \
    (DMA_CH0_CTRL_TRIG_EN | DMA_CH0_CTRL_TRIG_DATA_SIZE_SIZE_BYTE | DMA_CH0_CTRL_TRIG_INCR_WRITE | \
     DMA_CH0_CTRL_TRIG_TREQ_SEL_UART0_RX | IN_FIELD(DMA_CH0_CTRL_TRIG_CHAIN_TO, CHANNEL_NEXT))
/* A channel that chains to itself doesn't chain (RP 2.5.2.3). */
#define NEXT_CONTROL \
    (DMA_CH0_CTRL_TRIG_EN | DMA_CH0_CTRL_TRIG_DATA_SIZE_SIZE_WORD | DMA_CH0_CTRL_TRIG_TREQ_SEL_PERMANENT | \
     IN_FIELD(DMA_CH0_CTRL_TRIG_CHAIN_TO, CHANNEL_NEXT))
#define SEND_CONTROL \
    (DMA_CH0_CTRL_TRIG_EN | DMA_CH0_CTRL_TRIG_DATA_SIZE_SIZE_BYTE | DMA_CH0_CTRL_TRIG_INCR_READ | \
     DMA_CH0_CTRL_TRIG_TREQ_SEL_UART0_TX | IN_FIELD(DMA_CH0_CTRL_TRIG_CHAIN_TO, CHANNEL_SEND))

static volatile uint32_t next_half; /* address of the half that DATA fills after this one */
static uint8_t *receive_ring;
static uint32_t receive_half_bytes;
static uint32_t filling; /* which half, 0 or 1 */
static bool receiving;

void uart_start(void)
{
    SIO_GPIO_OUT_SET = RTS_BIT; /* idle high; RTS is asserted low, by port_rts */
    SIO_GPIO_OE_SET = RTS_BIT;
    IO_BANK0_GPIO3_CTRL = IO_BANK0_GPIO3_CTRL_FUNCSEL_SIO_3;
    IO_BANK0_GPIO0_CTRL = IO_BANK0_GPIO0_CTRL_FUNCSEL_UART0_TX;
    /* The pull-up keeps the line idle while nobody drives it. */
    PADS_BANK0_GPIO1 = PADS_BANK0_GPIO1_IE | PADS_BANK0_GPIO1_PUE | PADS_BANK0_GPIO1_SCHMITT;
    IO_BANK0_GPIO1_CTRL = IO_BANK0_GPIO1_CTRL_FUNCSEL_UART0_RX;
    UART0_UARTIBRD = BAUD_DIVISOR_64THS / 64u;
    UART0_UARTFBRD = BAUD_DIVISOR_64THS % 64u;
    /* This write also takes the divisors over (RP 4.2.7.1). */
    UART0_UARTLCR_H = IN_FIELD(UART0_UARTLCR_H_WLEN, EIGHT_BITS) | UART0_UARTLCR_H_FEN;
    UART0_UARTDMACR = UART0_UARTDMACR_RXDMAE | UART0_UARTDMACR_TXDMAE;
    UART0_UARTCR = UART0_UARTCR_UARTEN | UART0_UARTCR_RXE | UART0_UARTCR_TXE;
    DMA_CH2_WRITE_ADDR = (uint32_t)(uintptr_t)&UART0_UARTDR;
    DMA_CH2_AL1_CTRL = SEND_CONTROL;
    NVIC_ISER(IO_BANK0_INTERRUPT) = NVIC_BIT(IO_BANK0_INTERRUPT);
}

static uint32_t half_address(uint32_t half)
{
    return (uint32_t)(uintptr_t)(receive_ring + half * receive_half_bytes);
}

static void stop_receiver(void)
{
    const uint32_t channels = 1u << CHANNEL_DATA | 1u << CHANNEL_NEXT;
    DMA_CH0_AL1_CTRL = 0; /* paused: neither channel can start the other any more */
    DMA_CH1_AL1_CTRL = 0;
    DMA_CHAN_ABORT = channels;
    while ((DMA_CHAN_ABORT & channels) != 0) /* what is on the bus still ends (RP 2.5.5.3) */
        continue;
    /* The abort's bit is cleared before that end, which then sets INTR (erratum RP2040-E13). */
    while (((DMA_CH0_CTRL_TRIG | DMA_CH1_CTRL_TRIG) & DMA_CH0_CTRL_TRIG_BUSY) != 0)
        continue;
    while ((UART0_UARTFR & UART0_UARTFR_RXFE) == 0)
        (void)UART0_UARTDR;
}

void port_receive(uint8_t *ring, uint32_t half_bytes)
{
    if (receiving)
        stop_receiver();
    receiving = true;
    receive_ring = ring;
    receive_half_bytes = half_bytes;
    filling = 0;
    next_half = half_address(1);
    core_dsb(); /* the ring's blanks are in RAM before the DMA writes there */
    DMA_INTR = 1u << CHANNEL_DATA; /* an abort may have set it (erratum RP2040-E13) */
    DMA_CH1_READ_ADDR = (uint32_t)(uintptr_t)&next_half;
    DMA_CH1_WRITE_ADDR = (uint32_t)(uintptr_t)&DMA_CH0_AL2_WRITE_ADDR_TRIG;
    DMA_CH1_TRANS_COUNT = 1u;
    DMA_CH1_AL1_CTRL = NEXT_CONTROL;
    DMA_CH0_READ_ADDR = (uint32_t)(uintptr_t)&UART0_UARTDR;
    DMA_CH0_TRANS_COUNT = half_bytes;
    DMA_CH0_AL1_CTRL = DATA_CONTROL;
    DMA_CH0_AL2_WRITE_ADDR_TRIG = half_address(0);
}

bool port_crossed(void)
{
    core_dsb();
    if ((DMA_INTR & 1u << CHANNEL_DATA) == 0)
        return false;
    DMA_INTR = 1u << CHANNEL_DATA; /* written ones clear */
    next_half = half_address(filling);
    filling = 1u - filling;
    return true;
}

void port_transmit(const uint8_t *frame, uint32_t bytes)
{
    while ((DMA_CH2_CTRL_TRIG & DMA_CH0_CTRL_TRIG_BUSY) != 0)
        chip_spin_us(POLL_US);
    core_dsb(); /* the frame is in RAM before the DMA reads it */
    DMA_CH2_TRANS_COUNT = bytes;
    DMA_CH2_AL3_READ_ADDR_TRIG = (uint32_t)(uintptr_t)frame;
}

void port_rts(bool asserted)
{
    if (asserted)
        SIO_GPIO_OUT_CLR = RTS_BIT;
    else
        SIO_GPIO_OUT_SET = RTS_BIT;
}

/* Let bytes gather, then the caller looks. `may_sleep` ends a search of the ring in pieces: only then the edge is forgotten, so
 * that a byte that came between two of its pieces is not slept over. While the core computes no interrupt is enabled. */
void chip_wait(bool may_sleep)
{
    if (may_sleep && (IO_BANK0_INTR0 & RX_EDGE) == 0) {
        NVIC_ICPR(IO_BANK0_INTERRUPT) = NVIC_BIT(IO_BANK0_INTERRUPT);
        IO_BANK0_PROC0_INTE0 = RX_EDGE;
        core_dsb();
        if ((IO_BANK0_INTR0 & RX_EDGE) == 0)
            core_wfi(); /* PRIMASK holds back the handler; an interrupt pending already makes this a no-op */
        IO_BANK0_PROC0_INTE0 = 0;
    }
    if (may_sleep)
        IO_BANK0_INTR0 = RX_EDGE; /* written ones clear */
    chip_spin_us(GATHER_US);
}
