/* How registers of the RP2040 are written. "RP" is the RP2040 Datasheet, build of 2024-10-15. */
#ifndef BITS_H
#define BITS_H

#include <stdint.h>

/* Most peripherals answer at three more addresses, where ones that are written set or clear bits (RP 2.1.2). */
static inline void bits_set(volatile uint32_t *reg, uint32_t bits)
{
    *(volatile uint32_t *)((uintptr_t)reg + 0x2000u) = bits;
}

static inline void bits_clear(volatile uint32_t *reg, uint32_t bits)
{
    *(volatile uint32_t *)((uintptr_t)reg + 0x3000u) = bits;
}

/* `value` in the place of a field, of which the header knows the mask. */
#define IN_FIELD(mask, value) ((value) * ((mask) & (~(mask) + 1u)))

#endif
