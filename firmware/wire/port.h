/* What the wire needs of a chip. firmware/chips/<chip>/uart.c implements it; so do the tests on the host. */
#ifndef WIRE_PORT_H
#define WIRE_PORT_H

#include <stdbool.h>
#include <stdint.h>

/* Stop the receiver if it runs, and start it filling ring[2 * half_bytes], the first half first, then the halves in
 * turn for ever. The ring lies in RAM that the DMA reaches. */
void port_receive(uint8_t *ring, uint32_t half_bytes);

/* True once per half that the receiver has begun since the last call, and tells it where to go on after that. If
 * it comes too late, the receiver fills that half or the other again, and this is true once for both. */
bool port_crossed(void);

/* Wait for the transmission in progress, begin this one and return. `frame` stays unchanged until the call after the
 * next one. */
void port_transmit(const uint8_t *frame, uint32_t bytes);

/* Assert (the line goes low) or deassert RTS. */
void port_rts(bool asserted);

#endif
