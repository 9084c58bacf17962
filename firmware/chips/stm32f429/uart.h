/* USART3 and the RTS pin; see wire/port.h and chip_wait in chips/chip.h for the rest. */
#ifndef UART_H
#define UART_H

void uart_start(void);

#endif
