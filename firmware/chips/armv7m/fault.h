/* What a fault leaves behind for the next start, in RAM that the start-up doesn't touch. */
#ifndef FAULT_H
#define FAULT_H

#include <stdint.h>

#define FAULT_MAGIC 0x4641554Cu /* tells a record from what RAM holds after power-on */

struct fault_record {
    uint32_t magic;
    uint32_t exception; /* IPSR: 3 HardFault, … (ARMv7-M ARM, B1.5.2) */
};

extern struct fault_record fault_record;

#endif
