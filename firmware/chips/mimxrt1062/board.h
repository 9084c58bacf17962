/* NXP MIMXRT1060-EVK, as boards/mimxrt1062.toml states it. Pins are numbered 32 * port + pin. */
#ifndef BOARD_H
#define BOARD_H

#define BOARD_CLOCK_HZ 600000000u
#define BOARD_BAUD 1000000u
#define BOARD_TX_PIN 44u /* LPUART1 can use no others: pads GPIO_AD_B0_12 and 13 */
#define BOARD_RX_PIN 45u
#define BOARD_RTS_PIN 51u     /* GPIO_AD_B1_03 */
#define BOARD_TRIGGER_PIN 50u /* GPIO_AD_B1_02 */

#endif
