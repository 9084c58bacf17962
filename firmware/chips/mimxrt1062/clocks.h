/* Supply voltage, core, bus and UART clocks; see clocks.c. */
#ifndef CLOCKS_H
#define CLOCKS_H

#define CRYSTAL_HZ 24000000u /* the only one that the chip's oscillator and PLLs are made for */

/* Core at BOARD_CLOCK_HZ, peripherals at a quarter of it, UARTs at CRYSTAL_HZ. */
void clocks_start(void);

#endif
