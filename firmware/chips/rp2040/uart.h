/* UART0 with its DMA channels, and the RTS pin; see wire/port.h and chip_wait in chips/chip.h for the rest. */
#ifndef UART_H
#define UART_H

/* The pins' and the peripheral's blocks are out of reset, and clk_peri runs. */
void uart_start(void);

#endif
