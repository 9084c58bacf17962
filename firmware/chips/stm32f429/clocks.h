/* From the internal oscillator, which runs after any reset, to 180 MHz. */
#ifndef CLOCKS_H
#define CLOCKS_H

#define CLOCKS_APB1_HZ 45000000u

/* The board's clock by way of the PLL, the flash's wait states and caches; APB1 at a quarter, APB2 at a half. */
void clocks_start(void);

#endif
