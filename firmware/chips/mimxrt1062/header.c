/* What the boot ROM reads before it starts the firmware. "RM" is the i.MX RT1060 Processor Reference Manual (IMXRT1060RM),
 * chapter System Boot: serial NOR flash configuration block, image vector table, boot data. */
#include <stdint.h>

/* Instructions of FlexSPI's lookup table, two in a word (RM, FlexSPI, look up table). */
#define LUT(opcode0, pads0, operand0, opcode1, pads1, operand1) \
    ((operand0) | (pads0) << 8 | (opcode0) << 10 | (operand1) << 16 | (pads1) << 24 | (opcode1) << 26)
#define STOP 0x00u
#define COMMAND 0x01u
#define ADDRESS 0x02u
#define READ 0x09u
#define DUMMY 0x0Cu
#define PADS_1 0u
#define PADS_4 2u

/* Fast Read Quad I/O of the board's IS25WP064A: 24 bits of address and 8 mode bits by four lines, then 4 clocks of nothing.
 * The mode bits are not sent as such: they and the pause are 6 clocks. Its QE bit, which frees two pins as data lines, is not
 * volatile; the boot ROM's driver, by which this file gets into the flash, has set it. */
#define FAST_READ_QUAD_IO 0xEBu
#define READ_STATUS 0x05u
#define WRITE_ENABLE 0x06u

#define FLASH_BYTES 0x00800000u

struct flash_configuration {
    uint32_t tag, version, reserved_0;
    uint8_t sample_clock, hold_time, setup_time, column_width;
    uint8_t mode_enable, mode_type;
    uint16_t mode_wait;
    uint32_t mode_sequence, mode_argument;
    uint32_t commands[9]; /* none: 0x1C to 0x3F */
    uint32_t controller_options;
    uint8_t device_type, pads, clock, custom_lut;
    uint32_t reserved_1[2];
    uint32_t size_a1, size_a2, size_b1, size_b2;
    uint32_t pad_settings[4], timeout_ms, command_interval, data_valid, busy;
    uint32_t lut[64];
    uint32_t custom[12], reserved_2[4];
    uint32_t page_bytes, sector_bytes;
    uint8_t command_clock, uniform_blocks, reserved_3[2];
    uint32_t type;
    uint32_t block_bytes, reserved_4[11];
};
_Static_assert(sizeof(struct flash_configuration) == 512u, "RM, System Boot");

__attribute__((section(".boot.configuration"), used)) static const struct flash_configuration configuration = {
    .tag = 0x42464346u, /* "FCFB" */
    .version = 0x56010400u,
    .sample_clock = 1u, /* looped back from the DQS pad, which the board leaves open for that */
    .hold_time = 3u,
    .setup_time = 3u,
    .device_type = 1u, /* serial NOR */
    .pads = 4u,
    .clock = 5u, /* 80 MHz, well within what the flash reads at with that pause */
    .size_a1 = FLASH_BYTES,
    .lut = {
        [0] = LUT(COMMAND, PADS_1, FAST_READ_QUAD_IO, ADDRESS, PADS_4, 24u),
        [1] = LUT(DUMMY, PADS_4, 6u, READ, PADS_4, 4u),
        [4] = LUT(COMMAND, PADS_1, READ_STATUS, READ, PADS_1, 4u),
        [12] = LUT(COMMAND, PADS_1, WRITE_ENABLE, STOP, PADS_1, 0u),
    },
    .page_bytes = 256u,
    .sector_bytes = 4096u,
    .command_clock = 1u, /* 30 MHz */
    .block_bytes = 65536u,
};

struct boot_data {
    uint32_t start, bytes, plugin;
};

struct vector_table {
    uint32_t header;
    const void *entry;
    uint32_t reserved_1, device_configuration;
    const struct boot_data *boot_data;
    const struct vector_table *self;
    uint32_t signature, reserved_2;
};

#define TABLE_HEADER 0x412000D1u /* tag 0xD1, 32 bytes (big-endian), version 4.1 */

extern const uint8_t __vectors[];

__attribute__((section(".boot.data"), used)) static const struct boot_data boot_data = {
    .start = 0x60000000u,
    .bytes = FLASH_BYTES,
    .plugin = 0,
};

/* The entry is the core's vector table: its stack pointer and its reset handler. */
__attribute__((section(".boot.table"), used)) static const struct vector_table table = {
    .header = TABLE_HEADER,
    .entry = __vectors,
    .boot_data = &boot_data,
    .self = &table,
};
