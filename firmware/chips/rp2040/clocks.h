/* From the ring oscillator, or from whatever a former start has left, to 133 MHz. */
#ifndef CLOCKS_H
#define CLOCKS_H

/* The crystal, PLL_SYS, clk_ref 12 MHz, clk_sys and clk_peri at the board's clock, a tick each microsecond. */
void clocks_start(void);

#endif
