/* fqt: fully quantized training of neural networks, in place, in memory that the caller owns.
 *
 * The engine reads a model image (docs/image.md), keeps every tensor in the arenas that the image's plan lays
 * out, and does one sample at a time: forward, backward, and after a mini-batch the update. It allocates
 * nothing, does no I/O and has no state outside `struct fqt_net`. Its arithmetic is that of
 * harness/fqtbench/training/reference.py, bit for bit (docs/arithmetic.md).
 */
#ifndef FQT_H
#define FQT_H

#include <stdbool.h>
#include <stdint.h>

#include "image.h"

/* Version of the arithmetic; an image compiled for another one is refused. */
#define FQT_ARITH_ID 4u

enum fqt_status {
    FQT_OK = 0,
    FQT_BAD_MAGIC = 1,         /* no image at that address */
    FQT_BAD_VERSION = 2,       /* detail: the image's format version */
    FQT_BAD_ARITH = 3,         /* detail: the image's arith_id */
    FQT_BAD_LENGTH = 4,        /* detail: the image's length in bytes */
    FQT_BAD_CRC = 5,           /* detail: the CRC computed over the image */
    FQT_ARENA_TOO_SMALL = 6,   /* detail: bytes that region 0 lacks */
    FQT_UNKNOWN_LAYER = 7,     /* detail: layer index << 16 | layer type */
    FQT_UNKNOWN_FEATURE = 8,   /* detail: number of the header field that this engine does not know */
    FQT_BAD_TENSOR = 9,        /* detail: index of the tensor that lies outside its region or image, or on another
                                  one's bytes; 0xFFFF: on those of a state or buffer */
    FQT_BAD_LAYER = 10,        /* detail: index of the layer whose shapes or tensors don't fit together */
    FQT_BAD_IO = 11            /* the image's sample slots or receive ring lie outside region 0 */
};

/* One memory that the plan may use, region 0 first. `base` is aligned to 8 bytes. */
struct fqt_region {
    uint8_t *base;
    uint32_t bytes;
};

#define FQT_MAX_REGIONS 4u

/* Quantization of a tensor: real = scale * (q - zero_point). */
struct fqt_tensor_state {
    float scale;
    int32_t zero_point;
    float range_min, range_max; /* tracked range of an activation, in real units */
};

/* What a layer learns about its own arithmetic. */
struct fqt_layer_state {
    float error_ratio;         /* scale of error_in over scale of error_out; of a fork, over the larger of its two */
    int32_t gradient_exponent; /* a gradient unit is 2^gradient_exponent */
    int32_t acc_min, acc_max;  /* smallest and largest tracked accumulator since the last update */
    float error_max;           /* largest average error so far, decaying */
    int16_t saturated;         /* a weight left its range since the last update */
    uint16_t updated;          /* structures that the last sample updated */
};

struct fqt_outcome {
    float loss;           /* cross-entropy in nats */
    uint16_t predicted;   /* class of the largest logit, the lowest index among equals */
};

struct fqt_net {
    const uint8_t *image;
    const struct image_header *header;
    const struct image_tensor *tensors;
    const struct image_layer *layers;
    struct fqt_region regions[FQT_MAX_REGIONS];
    struct fqt_tensor_state *tensor_state; /* [n_tensors], in region 0 */
    struct fqt_layer_state *layer_state;   /* [n_layers], in region 0 */
    const uint8_t *sample;                 /* the input tensor of the step in progress */
    uint32_t step;                         /* samples trained since the image was loaded */
    uint32_t in_batch;                     /* samples accumulated since the last update */
    bool tracking;                         /* the step in progress observes ranges */
};

/* Check the image at `image` (at most `capacity` bytes are read, 4-byte aligned) and lay out its initial state in
 * `regions`. Anything but FQT_OK leaves `net` unusable; `*detail` then says more, see enum fqt_status. */
enum fqt_status fqt_load(struct fqt_net *net, const uint8_t *image, uint32_t capacity,
                         const struct fqt_region *regions, uint32_t n_regions, uint32_t *detail);

/* Forward pass of one sample (header->sample_bytes of uint8, 4-byte aligned, unchanged until the step ends),
 * with loss and prediction against `label` < header->n_classes. `training` turns range tracking on. */
struct fqt_outcome fqt_forward(struct fqt_net *net, const uint8_t *sample, uint32_t label, bool training);

/* Backward pass of the sample just forwarded: errors, and gradients added to the mini-batch. */
void fqt_backward(struct fqt_net *net);

/* True when a mini-batch is full; then fqt_update must come before the next fqt_forward. */
bool fqt_update_due(const struct fqt_net *net);

/* Update weights, biases and ranges from the mini-batch. */
void fqt_update(struct fqt_net *net);

/* Layers whose weights or biases are trained, and how many filters or rows of the i-th of them, in the image's
 * order, the last fqt_backward updated. */
uint32_t fqt_n_trained(const struct fqt_net *net);
uint16_t fqt_structures_updated(const struct fqt_net *net, uint32_t i);

/* CRC-32 over the trained state, in the image's order: weights, residuals, biases, ranges (docs/image.md). */
uint32_t fqt_checksum(const struct fqt_net *net);

/* Numbers that fqt_tensor_bytes takes for the states that the engine keeps of all tensors, and of all layers. */
#define FQT_TENSOR_STATES 0xFFFFu
#define FQT_LAYER_STATES 0xFFFEu

/* Bytes [offset, offset+length) of a tensor that lives in an arena, or NULL if there are none such. */
const uint8_t *fqt_tensor_bytes(const struct fqt_net *net, uint32_t tensor, uint32_t offset, uint32_t length);

/* CRC-32 (IEEE 802.3) of `bytes`, continuing from `crc` (0 to start). */
uint32_t fqt_crc32(uint32_t crc, const uint8_t *data, uint32_t bytes);

#endif
