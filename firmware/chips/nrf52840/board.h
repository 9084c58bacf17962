/* The nRF52840-DK (PCA10056), as boards/nrf52840.toml states it. Pins are numbered 32 * port + pin. */
#ifndef BOARD_H
#define BOARD_H

#define BOARD_CLOCK_HZ 64000000u
#define BOARD_BAUD 1000000u
#define BOARD_TX_PIN 6u
#define BOARD_RX_PIN 8u
#define BOARD_RTS_PIN 5u
#define BOARD_TRIGGER_PIN 33u

#endif
