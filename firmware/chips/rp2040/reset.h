/* How the chip resets itself, and what it leaves behind for the next start. */
#ifndef RESET_H
#define RESET_H

#include <stdint.h>

/* In WATCHDOG.SCRATCH0 while the firmware runs, kept over every reset but that of the whole chip (RP2040 Datasheet 4.7.6);
 * the boot ROM uses SCRATCH4 to 7 only (2.8.1.1). */
#define RESET_RUNNING 0x46515452u

/* In WATCHDOG.SCRATCH1 after a fault: this in the upper 24 bits, the exception's number below. */
#define RESET_FAULT 0x4641554Cu
#define RESET_FAULT_MASK 0xFFFFFF00u

/* Reset everything but the oscillators, by way of the watchdog; SYSRESETREQ would reset the core alone. */
_Noreturn void reset_all(void);

#endif
