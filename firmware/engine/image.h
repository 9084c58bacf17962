/* The model image: what the host compiles and the device trains. docs/image.md describes each field;
 * harness/fqtbench/training/image.py writes and parses the same structures. Little-endian, 4-byte aligned. */
#ifndef FQT_IMAGE_H
#define FQT_IMAGE_H

#include <stdint.h>

#define IMAGE_MAGIC 0x49545146u /* "FQTI" */
#define IMAGE_VERSION 1u
#define IMAGE_NONE 0xFFFFu      /* "no such tensor" */

enum image_layer_type {
    IMAGE_CONV2D = 1,
    IMAGE_FULLY_CONNECTED = 2,
    IMAGE_MAX_POOL = 3,
    IMAGE_GLOBAL_AVERAGE_POOL = 4,
    IMAGE_FLATTEN = 5,
    IMAGE_SOFTMAX_CROSS_ENTROPY = 6
    /* 7 depthwise, 8 add, 9 average pool, 10 1-D convolution: reserved */
};

enum image_dtype { IMAGE_U8 = 0, IMAGE_I16 = 1, IMAGE_I32 = 2, IMAGE_F32 = 3 };

struct image_header {
    uint32_t magic;
    uint16_t version;
    uint16_t header_bytes;   /* sizeof(struct image_header) */
    uint32_t total_bytes;    /* of the whole image, a multiple of 4 */
    uint32_t crc32;          /* over bytes [16, total_bytes) */
    uint16_t arith_id;
    uint16_t n_regions;
    uint16_t n_tensors;
    uint16_t n_layers;
    uint16_t n_rates;        /* steps of the learning-rate schedule */
    uint16_t n_classes;
    uint32_t tensors_offset; /* from the image's start, like every offset named so */
    uint32_t layers_offset;
    uint32_t rates_offset;
    uint32_t sample_bytes;
    uint32_t region_bytes[4]; /* what the plan needs of each region */
    uint32_t tensor_state_offset; /* in region 0 */
    uint32_t layer_state_offset;  /* in region 0 */
    uint32_t slots_offset;   /* in region 0: n_slots buffers, slot_stride bytes apart, for received frames */
    uint32_t slot_stride;
    uint32_t ring_offset;    /* in region 0: 2 halves of ring_half_bytes for the receiver's DMA */
    uint32_t ring_half_bytes;
    uint16_t n_slots;
    uint16_t batch;          /* samples per update, >= 1 */
    uint8_t configuration;   /* 0 uint8; 1 mixed, 2 float32: reserved */
    uint8_t recipe;          /* 0 best; 1 paper: reserved */
    uint8_t optimizer;       /* 0 standardized SGD; others reserved */
    uint8_t rounding;        /* 0 residual plane; 1 stochastic, 2 nearest: reserved */
    uint16_t track_period;   /* ranges are tracked on samples whose step is a multiple of it */
    uint8_t residual_bits;   /* 4 */
    uint8_t partial;         /* 0 full updates; others reserved */
    uint32_t seed;
    float lambda_min;        /* reserved: 1 */
    float lambda_max;        /* reserved: 1 */
    uint32_t reserved[4];    /* 0 */
};

struct image_tensor {
    uint8_t dtype;
    uint8_t region;
    uint8_t flags;           /* IMAGE_TRAINED_STATE */
    uint8_t reserved;
    uint32_t offset;         /* in its region */
    uint32_t bytes;
    uint32_t init_offset;    /* in the image: `bytes` of initial content; 0 = starts as zeros */
    uint16_t h, w, c;        /* shape, NHWC; weights, plane: h filters, w used of c stored (padded to 4) */
    uint16_t reserved2;
    float scale;
    int32_t zero_point;
};

struct image_layer {
    uint8_t type;
    uint8_t flags;           /* IMAGE_FLAG_* */
    uint8_t kernel_h, kernel_w;
    uint8_t stride_h, stride_w;
    uint8_t pad_top, pad_left;
    uint16_t in, out;        /* activations */
    uint16_t error_in;       /* error of `in`, written by backward; IMAGE_NONE: backward stops here */
    uint16_t error_out;      /* error of `out`, read by backward */
    uint16_t weights, plane, bias, scratch;
    float error_ratio;       /* initial range of error_in over range of error_out */
    int32_t gradient_exponent; /* initial: a gradient unit is 2^gradient_exponent */
    uint32_t reserved[2];
};

enum {
    IMAGE_FLAG_RELU = 1,       /* clamp the output at its zero point */
    IMAGE_FLAG_TRAINED = 2,
    IMAGE_FLAG_MASK_INPUT = 4  /* error_in is zero where `in` sits at its zero point: a folded ReLU clamped it */
};

enum {
    IMAGE_REGION_IN_IMAGE = 254, /* tensor: a constant that stays in the image */
    IMAGE_REGION_SAMPLE = 255    /* tensor: the input, in the slot that received it */
};

enum { IMAGE_TRAINED_STATE = 1 }; /* tensor flag: counted by the checksum */

struct image_rate {
    uint32_t first_step;
    float rate;
};

#endif
