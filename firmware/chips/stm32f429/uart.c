/* USART3 with DMA and without interrupt handlers (RM0090 rev 19, "RM": 10 DMA, 12.2 EXTI, 30 USART).
 *
 * Receiving: stream 1 in double-buffer mode fills the ring's halves in turn and sets TCIF1 with each that is full (RM 10.3.9). One
 * thing is other than wire/port.h says: if port_crossed comes too late for a half, the stream doesn't fill the same again, it
 * goes on into the other. The ring notices in the same way: the guard of the half that it expects is no longer blank.
 *
 * The DMA takes each byte at once, and so clears RXNE: what wakes the core is the falling edge of a start bit on the RX pin,
 * kept by EXTI line 9. */
#include "uart.h"

#include "../chip.h"
#include "../cortex_m.h"
#include "board.h"
#include "clocks.h"
#include "fields.h"
#include "port.h"
#include "registers.h"

#define OUTPUT 1u /* GPIOx_MODER (RM 8.4.1) */
#define ALTERNATE 2u
#define PULL_UP 1u /* GPIOx_PUPDR (RM 8.4.4) */
#define FAST 2u /* GPIOx_OSPEEDR (RM 8.4.3): a steep edge is one clean edge for the other side */
#define AF_USART3 7u /* datasheet, table 12: PD8, PD9 */
#define EXTI_PORT_D 3u /* RM 9.3.5 */
#define RX_EDGE EXTI_PR_PR9

#define DMA_CHANNEL 4u /* of stream 1 USART3_RX, of stream 3 USART3_TX (RM table 42) */
#define TO_PERIPHERAL 1u
#define VERY_HIGH 3u
#define RECEIVE_FLAGS                                                                                            \
    (DMA1_LIFCR_CTCIF1 | DMA1_LIFCR_CHTIF1 | DMA1_LIFCR_CTEIF1 | DMA1_LIFCR_CDMEIF1 | DMA1_LIFCR_CFEIF1)
#define SEND_FLAGS                                                                                               \
    (DMA1_LIFCR_CTCIF3 | DMA1_LIFCR_CHTIF3 | DMA1_LIFCR_CTEIF3 | DMA1_LIFCR_CDMEIF3 | DMA1_LIFCR_CFEIF3)
/* Bytes, and each at once: direct mode is what SxFCR says after a reset (RM 10.5.10). */
#define RECEIVE_CONTROL                                                                                          \
    (IN_FIELD(DMA1_S1CR_CHSEL, DMA_CHANNEL) | IN_FIELD(DMA1_S1CR_PL, VERY_HIGH) | DMA1_S1CR_DBM | DMA1_S1CR_MINC)
#define SEND_CONTROL                                                                                             \
    (IN_FIELD(DMA1_S3CR_CHSEL, DMA_CHANNEL) | IN_FIELD(DMA1_S3CR_DIR, TO_PERIPHERAL) | DMA1_S3CR_MINC)

/* Sixteenths of a rate of APB1 / (16 * divisor): 45 MHz gives 1 Mbaud exactly, 2 + 13/16 (RM 30.3.4). */
#define BAUD_DIVISOR_16THS ((CLOCKS_APB1_HZ + BOARD_BAUD / 2u) / BOARD_BAUD)

/* How long to let bytes gather before the next look: ten byte times, and short enough for docs/wire.md's promise to withdraw
 * RTS within 150 µs of a frame's end. It also covers the rest of the byte whose start bit has woken the core. */
#define GATHER_US 100u

/* Between two looks at a frame that is still leaving: a fifth of a byte's time. */
#define POLL_US 2u

static void start_pins(void)
{
    GPIOD_BSRR = GPIOD_BSRR_BS12; /* idle high; RTS is asserted low, by port_rts */
    GPIOD_MODER = WITH_FIELD(GPIOD_MODER, GPIOD_MODER_MODER12, OUTPUT);
    /* The pull-up keeps the line idle while nobody drives it. */
    GPIOD_PUPDR = WITH_FIELD(GPIOD_PUPDR, GPIOD_PUPDR_PUPDR9, PULL_UP);
    GPIOD_OSPEEDR = WITH_FIELD(GPIOD_OSPEEDR, GPIOD_OSPEEDR_OSPEEDR8, FAST);
    GPIOD_AFRH = WITH_FIELD(GPIOD_AFRH, GPIOD_AFRH_AFRH8, AF_USART3);
    GPIOD_AFRH = WITH_FIELD(GPIOD_AFRH, GPIOD_AFRH_AFRH9, AF_USART3);
}

/* After the USART is on: until then its TX would pull the line low. */
static void connect_pins(void)
{
    GPIOD_MODER = WITH_FIELD(GPIOD_MODER, GPIOD_MODER_MODER8, ALTERNATE);
    GPIOD_MODER = WITH_FIELD(GPIOD_MODER, GPIOD_MODER_MODER9, ALTERNATE);
}

/* The interrupt stays enabled: PRIMASK keeps it from being taken, and one that is pending costs nothing. */
static void watch_rx(void)
{
    SYSCFG_EXTICR3 = WITH_FIELD(SYSCFG_EXTICR3, SYSCFG_EXTICR3_EXTI9, EXTI_PORT_D);
    EXTI_FTSR = EXTI_FTSR_TR9;
    EXTI_IMR = EXTI_IMR_MR9;
    NVIC_ISER(EXTI_INTERRUPT_EXTI9_5) = NVIC_BIT(EXTI_INTERRUPT_EXTI9_5);
}

void uart_start(void)
{
    RCC_AHB1ENR |= RCC_AHB1ENR_GPIODEN | RCC_AHB1ENR_DMA1EN;
    RCC_APB1ENR |= RCC_APB1ENR_USART3EN;
    RCC_APB2ENR |= RCC_APB2ENR_SYSCFGEN;
    (void)RCC_APB2ENR; /* a clock reaches its block two cycles after the write (errata sheet ES0206, 2.2.7) */
    start_pins();
    USART3_BRR = BAUD_DIVISOR_16THS;
    USART3_CR3 = USART3_CR3_DMAT;
    USART3_CR1 = USART3_CR1_UE | USART3_CR1_TE | USART3_CR1_RE; /* eight bits, no parity, one stop bit */
    connect_pins();
    DMA1_S1PAR = (uint32_t)(uintptr_t)&USART3_DR;
    DMA1_S3PAR = (uint32_t)(uintptr_t)&USART3_DR;
    watch_rx();
}

/* First the stream, then the requests to it (RM 10.3.17, warning). */
static void stop_receiver(void)
{
    DMA1_S1CR = 0;
    while ((DMA1_S1CR & DMA1_S1CR_EN) != 0) /* what is on the bus still ends (RM 10.3.14) */
        continue;
    USART3_CR3 = USART3_CR3_DMAT;
    /* A read of SR, then one of DR clear RXNE and an overrun (RM 30.6.1). */
    while ((USART3_SR & (USART3_SR_RXNE | USART3_SR_ORE)) != 0)
        (void)USART3_DR;
}

void port_receive(uint8_t *ring, uint32_t half_bytes)
{
    stop_receiver();
    core_dsb(); /* the ring's blanks are in RAM before the DMA writes there */
    DMA1_LIFCR = RECEIVE_FLAGS; /* a stream that was stopped says that it is complete */
    DMA1_S1M0AR = (uint32_t)(uintptr_t)ring;
    DMA1_S1M1AR = (uint32_t)(uintptr_t)(ring + half_bytes);
    DMA1_S1NDTR = half_bytes;
    DMA1_S1CR = RECEIVE_CONTROL;
    DMA1_S1CR = RECEIVE_CONTROL | DMA1_S1CR_EN;
    USART3_CR3 = USART3_CR3_DMAT | USART3_CR3_DMAR;
}

bool port_crossed(void)
{
    core_dsb();
    if ((DMA1_LISR & DMA1_LISR_TCIF1) == 0)
        return false;
    DMA1_LIFCR = DMA1_LIFCR_CTCIF1;
    return true;
}

void port_transmit(const uint8_t *frame, uint32_t bytes)
{
    while ((DMA1_S3CR & DMA1_S3CR_EN) != 0) /* cleared when the last byte has left RAM */
        chip_spin_us(POLL_US);
    core_dsb(); /* the frame is in RAM before the DMA reads it */
    DMA1_LIFCR = SEND_FLAGS; /* they have to be clear when the stream is enabled (RM 10.3.17) */
    DMA1_S3M0AR = (uint32_t)(uintptr_t)frame;
    DMA1_S3NDTR = bytes;
    DMA1_S3CR = SEND_CONTROL;
    DMA1_S3CR = SEND_CONTROL | DMA1_S3CR_EN;
}

void port_rts(bool asserted)
{
    GPIOD_BSRR = asserted ? GPIOD_BSRR_BR12 : GPIOD_BSRR_BS12;
}

/* Let bytes gather, then the caller looks. `may_sleep` ends a search of the ring in pieces: only then the edge is forgotten, so
 * that a byte that came between two of its pieces is not slept over. */
void chip_wait(bool may_sleep)
{
    if ((USART3_SR & USART3_SR_ORE) != 0) /* until DR has been read nothing more is received (RM 30.3.3) */
        (void)USART3_DR;
    if (may_sleep && (EXTI_PR & RX_EDGE) == 0) {
        NVIC_ICPR(EXTI_INTERRUPT_EXTI9_5) = NVIC_BIT(EXTI_INTERRUPT_EXTI9_5);
        core_dsb();
        if ((EXTI_PR & RX_EDGE) == 0)
            core_wfi(); /* PRIMASK holds back the handler; an interrupt pending already makes this a no-op */
    }
    if (may_sleep)
        EXTI_PR = RX_EDGE; /* written ones clear */
    chip_spin_us(GATHER_US);
}
