/* The Raspberry Pi Pico, as boards/rp2040.toml states it. */
#ifndef BOARD_H
#define BOARD_H

#define BOARD_CLOCK_HZ 133000000u
#define BOARD_BAUD 1000000u
#define BOARD_TX_PIN 0u
#define BOARD_RX_PIN 1u
#define BOARD_RTS_PIN 3u
#define BOARD_TRIGGER_PIN 2u

#endif
