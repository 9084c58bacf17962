/* What the native chip offers the stand-in engine, besides chips/chip.h. */
#ifndef NATIVE_H
#define NATIVE_H

#include <stdbool.h>
#include <stdint.h>

struct native_options {
    uint32_t seed;
    uint32_t sample_bytes;
    uint32_t n_slots;
    uint32_t image_status, image_detail;
};
extern struct native_options native_options;

/* The CPU begins to compute: docs/wire.md says that RTS is not asserted then, and is when the device is idle. Ends the
 * program with a message if it isn't so. */
void native_check_rts(bool asserted);

/* Let the receiver's DMA go on while the CPU computes: whatever has arrived goes to the ring, at most `bytes`. */
void native_receive(uint32_t bytes);

/* What a reset does to the host's view: the program starts again on the same line. */
void native_reset(void);

#endif
