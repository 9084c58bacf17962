/* Checks of an image's tables. */
#ifndef FQT_CHECK_H
#define FQT_CHECK_H

#include "internal.h"

/* Whether [offset, offset+bytes) lies within [0, limit), aligned to 4. */
static inline bool fqt_inside(uint64_t offset, uint64_t bytes, uint64_t limit)
{
    return offset % 4u == 0 && offset <= limit && bytes <= limit - offset;
}

/* The image may be anything: whatever passes here can't make the engine read or write outside the image and the
 * regions, nor overflow an accumulator. */
enum fqt_status fqt_check_tables(const struct fqt_net *net, uint32_t *detail);

#endif
