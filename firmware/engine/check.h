/* Checks of an image's tables. */
#ifndef FQT_CHECK_H
#define FQT_CHECK_H

#include "internal.h"

/* Whether [offset, offset+bytes) lies within [0, limit), aligned to 4. */
bool fqt_inside(uint32_t offset, uint64_t bytes, uint32_t limit);

/* What region 0 holds beside tensors: the two states, the slots, the ring. */
struct fqt_block {
    uint32_t offset;
    uint64_t bytes;
};

#define FQT_BLOCKS 4u

void fqt_blocks_of(const struct image_header *h, struct fqt_block blocks[FQT_BLOCKS]);

/* The image may be anything: whatever passes here can't make the engine read or write outside the image and the
 * regions, nor overflow an accumulator. */
enum fqt_status fqt_check_tables(const struct fqt_net *net, uint32_t *detail);

#endif
