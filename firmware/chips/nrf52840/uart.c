/* UARTE0 without interrupt handlers (nRF52840 Product Specification v1.7, 6.34).
 *
 * Receiving: the shortcut from ENDRX to STARTRX keeps the receiver running; it takes up RXD.PTR at each start, so the
 * pointer to the half after next is written once RXSTARTED has been seen (RXD.PTR is double-buffered).
 * RXDRDY may come before its byte has reached RAM (6.34.2), hence the pause in chip_wait.
 */
#include "uart.h"

#include "../chip.h"
#include "../cortex_m.h"
#include "board.h"
#include "port.h"
#include "registers.h"

#define TX_BIT (1u << BOARD_TX_PIN)
#define RTS_BIT (1u << BOARD_RTS_PIN)

/* How long to let bytes gather before the next look: ten byte times, far more than the DMA's way to RAM, and short
 * enough for docs/wire.md's promise to withdraw RTS within 150 µs of a frame's end. */
#define GATHER_US 100u

/* 20 ms in all: the longest frame takes 6 ms to send. */
#define POLL_US 2u
#define PATIENCE_POLLS 10000u

static uint8_t *receive_ring;
static uint32_t receive_half_bytes;
static uint32_t filling; /* which half, 0 or 1 */
static bool receiving, transmitting;

static void await(volatile uint32_t *event)
{
    for (uint32_t polls = 0; *event == 0 && polls < PATIENCE_POLLS; polls++)
        chip_spin_us(POLL_US);
    *event = 0;
}

void uart_start(void)
{
    P0_OUTSET = TX_BIT | RTS_BIT; /* both idle high; RTS is asserted low, by port_rts */
    P0_DIRSET = TX_BIT | RTS_BIT;
    /* The pull-up keeps the line idle while nobody drives it. */
    P0_PIN_CNF_8 = P0_PIN_CNF_8_INPUT_CONNECT | P0_PIN_CNF_8_PULL_PULLUP;
    UARTE0_PSEL_TXD = BOARD_TX_PIN;
    UARTE0_PSEL_RXD = BOARD_RX_PIN;
    UARTE0_BAUDRATE = UARTE0_BAUDRATE_BAUDRATE_BAUD1M;
    UARTE0_CONFIG = 0; /* no parity, one stop bit, no hardware flow control */
    UARTE0_ENABLE = UARTE0_ENABLE_ENABLE_ENABLED;
    NVIC_ISER(UARTE0_INTERRUPT) = NVIC_BIT(UARTE0_INTERRUPT);
}

static uint32_t half_address(uint32_t half)
{
    return (uint32_t)(uintptr_t)(receive_ring + half * receive_half_bytes);
}

static void stop_receiver(void)
{
    /* Stopping ends the transfer with ENDRX, which the shortcut would turn into a new start. */
    UARTE0_SHORTS = 0;
    UARTE0_EVENTS_RXTO = 0;
    UARTE0_TASKS_STOPRX = 1;
    await(&UARTE0_EVENTS_RXTO);
}

void port_receive(uint8_t *ring, uint32_t half_bytes)
{
    if (receiving)
        stop_receiver();
    receiving = true;
    receive_ring = ring;
    receive_half_bytes = half_bytes;
    filling = 0;
    core_dsb(); /* the ring's blanks are in RAM before the DMA writes there */
    UARTE0_RXD_PTR = half_address(0);
    UARTE0_RXD_MAXCNT = half_bytes;
    UARTE0_EVENTS_ENDRX = 0;
    UARTE0_EVENTS_RXSTARTED = 0;
    UARTE0_SHORTS = UARTE0_SHORTS_ENDRX_STARTRX_ENABLED;
    UARTE0_TASKS_STARTRX = 1;
    await(&UARTE0_EVENTS_RXSTARTED);
    UARTE0_RXD_PTR = half_address(1);
}

bool port_crossed(void)
{
    core_dsb();
    if (UARTE0_EVENTS_ENDRX == 0)
        return false;
    UARTE0_EVENTS_ENDRX = 0;
    await(&UARTE0_EVENTS_RXSTARTED);
    UARTE0_RXD_PTR = half_address(filling);
    filling = 1u - filling;
    return true;
}

void port_transmit(const uint8_t *frame, uint32_t bytes)
{
    if (transmitting)
        await(&UARTE0_EVENTS_ENDTX);
    transmitting = true;
    core_dsb(); /* the frame is in RAM before the DMA reads it */
    UARTE0_EVENTS_ENDTX = 0;
    UARTE0_TXD_PTR = (uint32_t)(uintptr_t)frame;
    UARTE0_TXD_MAXCNT = bytes;
    UARTE0_TASKS_STARTTX = 1;
}

void port_rts(bool asserted)
{
    if (asserted)
        P0_OUTCLR = RTS_BIT;
    else
        P0_OUTSET = RTS_BIT;
}

/* Let bytes gather, then the caller looks. `may_sleep` ends a search of the ring in pieces: only then the event is cleared, so
 * that a byte that came between two of its pieces is not slept over. While the core computes no interrupt is enabled. */
void chip_wait(bool may_sleep)
{
    if (may_sleep && UARTE0_EVENTS_RXDRDY == 0) {
        NVIC_ICPR(UARTE0_INTERRUPT) = NVIC_BIT(UARTE0_INTERRUPT);
        UARTE0_INTENSET = UARTE0_INTENSET_RXDRDY_SET;
        core_dsb();
        if (UARTE0_EVENTS_RXDRDY == 0)
            core_wfi(); /* PRIMASK holds back the handler; an interrupt pending already makes this a no-op */
        UARTE0_INTENCLR = UARTE0_INTENCLR_RXDRDY_CLEAR;
    }
    if (may_sleep)
        UARTE0_EVENTS_RXDRDY = 0;
    chip_spin_us(GATHER_US);
}
