/* LPUART1 with its DMA channels, and the RTS pin; see wire/port.h and chip_wait in chips/chip.h for the rest. */
#ifndef UART_H
#define UART_H

/* The UART clock runs from the crystal, and the DMA reaches DTCM. */
void uart_start(void);

#endif
