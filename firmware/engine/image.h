/* The model image: what the host compiles and the device trains. docs/image.md describes each field;
 * harness/fqtbench/training/image.py writes and parses the same structures. Little-endian, 4-byte aligned. */
#ifndef FQT_IMAGE_H
#define FQT_IMAGE_H

#include <stdint.h>

#define IMAGE_MAGIC 0x49545146u /* "FQTI" */
#define IMAGE_VERSION 3u
#define IMAGE_NONE 0xFFFFu      /* "no such tensor" */

enum image_layer_type {
    IMAGE_CONVOLUTION = 1,     /* with `groups`; fused with a 2x2 max pool if it has an argmax tensor */
    IMAGE_FULLY_CONNECTED = 2,
    IMAGE_MAX_POOL = 3,
    IMAGE_AVERAGE_POOL = 4,
    IMAGE_FLATTEN = 5,
    IMAGE_SOFTMAX_CROSS_ENTROPY = 6,
    IMAGE_ADD = 7,             /* out = in + other */
    IMAGE_FORK = 8,            /* `in` has two readers: backward joins their errors */
    IMAGE_DEQUANTIZE = 9       /* uint8 to float32; backward quantizes the error */
};

enum image_dtype { IMAGE_U8 = 0, IMAGE_I16 = 1, IMAGE_I32 = 2, IMAGE_F32 = 3, IMAGE_I8 = 4 };

enum image_normalization { IMAGE_STANDARDIZE = 0, IMAGE_QAS = 1, IMAGE_PLAIN = 2 };
enum image_rounding { IMAGE_RESIDUAL = 0, IMAGE_STOCHASTIC = 1, IMAGE_NEAREST = 2 };
enum image_partial { IMAGE_FULL = 0, IMAGE_DYNAMIC = 1, IMAGE_TOP_K = 2, IMAGE_RANDOM_K = 3, IMAGE_SAMPLED = 4 };
enum image_weight_ranges { IMAGE_WEIGHTS_FIXED = 0, IMAGE_WEIGHTS_GROW = 1, IMAGE_WEIGHTS_DYNAMIC = 2 };
enum image_error_ranges { IMAGE_ERRORS_FIXED = 0, IMAGE_ERRORS_CALIBRATED = 1, IMAGE_ERRORS_TRACKED = 2 };

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
    uint8_t configuration;   /* 0 uint8, 1 mixed, 2 float32: for the reader; the tensors' types decide */
    uint8_t recipe;          /* 0 best, 1 paper: for the reader; the fields below decide */
    uint8_t normalization;   /* enum image_normalization */
    uint8_t rounding;        /* enum image_rounding */
    uint16_t track_period;   /* ranges are tracked on samples whose step is a multiple of it */
    uint8_t partial;         /* enum image_partial */
    uint8_t weight_ranges;   /* enum image_weight_ranges */
    uint8_t error_ranges;    /* enum image_error_ranges */
    uint8_t reserved[3];     /* 0 */
    uint32_t seed;
    float lambda_min;        /* share of a layer's structures updated at least */
    float lambda_max;
    float momentum;          /* 0 <= momentum < 1 */
    uint32_t reserved2[2];   /* 0 */
};

struct image_tensor {
    uint8_t dtype;
    uint8_t region;
    uint8_t flags;           /* IMAGE_TRAINED_STATE */
    uint8_t reserved;
    uint32_t offset;         /* in its region */
    uint32_t bytes;
    uint32_t init_offset;    /* in the image: `bytes` of initial content; 0 = starts as zeros */
    uint16_t h, w, c;        /* shape, NHWC; weights, plane, velocity: h filters, w used of c stored (padded to 4) */
    uint16_t reserved2;
    float scale;
    int32_t zero_point;
};

struct image_layer {
    uint16_t type;
    uint16_t flags;          /* IMAGE_FLAG_* */
    uint16_t kernel_h, kernel_w;
    uint16_t stride_h, stride_w;
    uint16_t pad_top, pad_left;
    uint16_t groups;
    uint16_t in, other, out; /* activations; IMAGE_NONE = no such tensor, here and below */
    uint16_t error_in;       /* error of `in`, written by backward; none: backward stops here */
    uint16_t error_other;    /* of `other`; FORK reads it, as it does error_out */
    uint16_t error_out;      /* error of `out`, read by backward */
    uint16_t weights;        /* uint8 or float32 */
    uint16_t plane;          /* int16: gradient and residual; int8: residual; float32: gradient */
    uint16_t velocity;       /* int16 beside uint8 weights, else float32 */
    uint16_t bias;           /* float32; none where bias_folded is constant */
    uint16_t bias_step;      /* float32: gradients, then velocities if there is momentum */
    uint16_t bias_folded;    /* int32: the bias in accumulator units */
    uint16_t argmax;         /* uint8: 2 bits for each pooled output: row << 1 | column of its maximum */
    uint16_t scratch, selection;
    float error_ratio;       /* initial range of error_in over range of error_out */
    int32_t gradient_exponent; /* initial: a gradient unit is 2^gradient_exponent */
};

enum {
    IMAGE_FLAG_RELU = 1,         /* clamp the output at its zero point */
    IMAGE_FLAG_RELU6 = 2,        /* with RELU: and at 6 */
    IMAGE_FLAG_TRAINED = 4,      /* its weights */
    IMAGE_FLAG_BIAS_TRAINED = 8,
    IMAGE_FLAG_TRACKED = 16,     /* the output's range follows what is observed */
    IMAGE_FLAG_MASK_INPUT = 32,  /* error_in is zero where a folded ReLU clamped `in` */
    IMAGE_FLAG_MASK_INPUT_HIGH = 64, /* with MASK_INPUT: a ReLU6 */
    IMAGE_FLAG_MASK_OTHER = 128,
    IMAGE_FLAG_MASK_OTHER_HIGH = 256,
    IMAGE_FLAG_WHOLE = 512       /* never updated in part */
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
