/* The NUCLEO-F429ZI, as boards/stm32f429.toml states it. Pins are numbered 32 * port + pin, port A = 0. */
#ifndef BOARD_H
#define BOARD_H

#define BOARD_CLOCK_HZ 180000000u
#define BOARD_BAUD 1000000u
#define BOARD_TX_PIN 104u
#define BOARD_RX_PIN 105u
#define BOARD_RTS_PIN 108u
#define BOARD_TRIGGER_PIN 107u

#endif
