/* What a fault leaves behind for the next start, in registers that only power-on clears (RM, SRC; the boot ROM uses
 * GPR1, 2 and 10). */
#ifndef RESET_H
#define RESET_H

#include <stdint.h>

/* In SRC.GPR6 while the firmware runs. */
#define RESET_RUNNING 0x46515452u

/* In SRC.GPR5 after a fault: this in the upper 24 bits, the exception's number below. */
#define RESET_FAULT 0x4641554Cu
#define RESET_FAULT_MASK 0xFFFFFF00u

#endif
