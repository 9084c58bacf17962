/* The firmware: load the model image, then do what the frames from the host say, one after the other. */
#include <stddef.h>
#include <string.h>

#include "bytes.h"
#include "chip.h"
#include "fqt.h"
#include "link.h"

/* Low time of the trigger pin between two phases: five samples of a monitor that takes 100 000 a second. */
#define TRIGGER_GAP_US 50u

/* TRAIN and EVALUATE: label u16, 0 u16, then the sample. */
#define LABEL_BYTES 4u

/* STEP: what stands in front of the list of structures. */
#define STEP_FIXED_BYTES 24u

/* Without a usable image the board still answers HELLO and says what is wrong. */
#define FALLBACK_SLOTS 2u
#define FALLBACK_SLOT_BYTES 128u
#define FALLBACK_HALF_BYTES 512u

static uint8_t fallback_slots[FALLBACK_SLOTS * FALLBACK_SLOT_BYTES] __attribute__((aligned(4)));
static uint8_t fallback_ring[2u * FALLBACK_HALF_BYTES] __attribute__((aligned(4)));

static struct fqt_net net;
static struct link link;
static enum fqt_status image_status;
static uint32_t image_detail;
static uint32_t sunk_frames, sunk_bytes;

static uint32_t arena_bytes(void)
{
    return (uint32_t)(__arena_end - __arena_start);
}

static uint32_t arena_peak_bytes(void)
{
    return image_status == FQT_OK ? net.header->region_bytes[0] : 0;
}

static void load_image(void)
{
    const struct fqt_region regions[] = {{.base = __arena_start, .bytes = arena_bytes()}};
    image_detail = 0;
    image_status = fqt_load(&net, __image_start, (uint32_t)(__image_end - __image_start), regions, 1, &image_detail);
}

/* The wire's memory as the image plans it; without a good image the fallback. */
static struct link_memory wire_memory(void)
{
    if (image_status == FQT_OK) {
        const struct image_header *header = net.header;
        const struct link_memory memory = {
            .slots = __arena_start + header->slots_offset,
            .slot_stride = header->slot_stride,
            .n_slots = header->n_slots,
            .ring = __arena_start + header->ring_offset,
            .ring_half_bytes = header->ring_half_bytes,
        };
        const uint32_t needed = WIRE_MIN_BODY_BYTES + LABEL_BYTES + header->sample_bytes;
        if (link_memory_fits(&memory) && memory.slot_stride >= needed)
            return memory;
        image_status = FQT_BAD_IO;
    }
    return (struct link_memory){
        .slots = fallback_slots,
        .slot_stride = FALLBACK_SLOT_BYTES,
        .n_slots = FALLBACK_SLOTS,
        .ring = fallback_ring,
        .ring_half_bytes = FALLBACK_HALF_BYTES,
    };
}

static uint32_t phase_begin(void)
{
    chip_trigger(true);
    return chip_cycles();
}

static uint32_t phase_end(uint32_t begin)
{
    const uint32_t cycles = chip_cycles() - begin;
    chip_trigger(false);
    chip_spin_us(TRIGGER_GAP_US);
    return cycles;
}

static void hello(const struct wire_frame *frame)
{
    if (frame->payload_bytes != 8u) {
        link_refuse(&link, WIRE_BAD_LENGTH, frame->payload_bytes);
        return;
    }
    if (wire_load16(frame->payload + 4) != WIRE_VERSION) {
        link_refuse(&link, WIRE_BAD_VERSION, WIRE_VERSION);
        return;
    }
    chip_count_cycles();
    struct {
        uint32_t nonce;
        uint16_t protocol, arith_id;
        uint32_t chip;
        uint8_t build_id[8];
        uint32_t clock_hz, baud;
        uint16_t window, max_body_bytes;
        uint32_t arena_bytes, arena_peak_bytes;
        uint16_t image_status, zero;
        uint32_t image_detail, image_crc, sample_bytes, reset_reason, device_id[2];
    } reply = {
        .nonce = wire_load32(frame->payload),
        .protocol = WIRE_VERSION,
        .arith_id = FQT_ARITH_ID,
        .chip = chip_part(),
        .clock_hz = chip_clock_hz(),
        .baud = chip_baud(),
        .window = (uint16_t)link.memory.n_slots,
        .max_body_bytes = (uint16_t)link.memory.slot_stride,
        .arena_bytes = arena_bytes(),
        .arena_peak_bytes = arena_peak_bytes(),
        .image_status = (uint16_t)image_status,
        .image_detail = image_detail,
        .image_crc = image_status == FQT_OK ? net.header->crc32 : 0,
        .sample_bytes = image_status == FQT_OK ? net.header->sample_bytes : 0,
        .reset_reason = chip_reset_reason(),
        .device_id = {(uint32_t)chip_device_id(), (uint32_t)(chip_device_id() >> 32)},
    };
    _Static_assert(sizeof reply == 68u, "docs/wire.md fixes the layout");
    memcpy(reply.build_id, __build_id, sizeof reply.build_id);
    link_reply(&link, WIRE_HELLO_REPLY, &reply, sizeof reply);
}

/* Refuse a TRAIN or EVALUATE that can't be done; true if it can. */
static bool usable_sample(const struct wire_frame *frame)
{
    if (image_status != FQT_OK)
        link_refuse(&link, WIRE_NO_IMAGE, (uint32_t)image_status);
    else if (frame->payload_bytes != LABEL_BYTES + net.header->sample_bytes)
        link_refuse(&link, WIRE_BAD_LENGTH, frame->payload_bytes);
    else if (wire_load16(frame->payload) >= net.header->n_classes)
        link_refuse(&link, WIRE_BAD_LABEL, wire_load16(frame->payload));
    else
        return true;
    return false;
}

static void train(const struct wire_frame *frame)
{
    if (!usable_sample(frame))
        return;
    struct {
        uint32_t step;
        uint16_t predicted, updated;
        float loss;
        uint32_t forward_cycles, backward_cycles, update_cycles;
        uint16_t structures[WIRE_STEP_MAX_LAYERS];
    } reply = {0};
    _Static_assert(sizeof reply == STEP_FIXED_BYTES + sizeof reply.structures, "docs/wire.md fixes the layout");
    _Static_assert(sizeof reply <= WIRE_READ_MAX_BYTES, "a reply is no longer than DATA");

    uint32_t begin = phase_begin();
    const struct fqt_outcome outcome =
        fqt_forward(&net, frame->payload + LABEL_BYTES, wire_load16(frame->payload), true);
    reply.forward_cycles = phase_end(begin);

    begin = phase_begin();
    fqt_backward(&net);
    reply.backward_cycles = phase_end(begin);

    if (fqt_update_due(&net)) {
        begin = phase_begin();
        fqt_update(&net);
        reply.update_cycles = phase_end(begin);
        reply.updated = 1;
    }
    reply.step = net.step;
    reply.predicted = outcome.predicted;
    reply.loss = outcome.loss;
    const uint32_t trained = fqt_n_trained(&net);
    const uint32_t n = trained < WIRE_STEP_MAX_LAYERS ? trained : WIRE_STEP_MAX_LAYERS;
    for (uint32_t i = 0; i < n; i++)
        reply.structures[i] = fqt_structures_updated(&net, i);
    link_reply(&link, WIRE_STEP, &reply, STEP_FIXED_BYTES + n * (uint32_t)sizeof reply.structures[0]);
}

static void evaluate(const struct wire_frame *frame)
{
    if (!usable_sample(frame))
        return;
    const uint32_t begin = phase_begin();
    const struct fqt_outcome outcome =
        fqt_forward(&net, frame->payload + LABEL_BYTES, wire_load16(frame->payload), false);
    const uint32_t cycles = phase_end(begin);
    const struct {
        uint16_t predicted, zero;
        float loss;
        uint32_t forward_cycles;
    } reply = {.predicted = outcome.predicted, .loss = outcome.loss, .forward_cycles = cycles};
    _Static_assert(sizeof reply == 12u, "docs/wire.md fixes the layout");
    link_reply(&link, WIRE_EVALUATED, &reply, sizeof reply);
}

static void checksum(void)
{
    if (image_status != FQT_OK) {
        link_refuse(&link, WIRE_NO_IMAGE, (uint32_t)image_status);
        return;
    }
    const uint32_t reply[2] = {fqt_checksum(&net), net.step};
    link_reply(&link, WIRE_CHECKSUM_REPLY, reply, sizeof reply);
}

static void read_tensor(const struct wire_frame *frame)
{
    if (image_status != FQT_OK) {
        link_refuse(&link, WIRE_NO_IMAGE, (uint32_t)image_status);
        return;
    }
    if (frame->payload_bytes != 12u) {
        link_refuse(&link, WIRE_BAD_LENGTH, frame->payload_bytes);
        return;
    }
    const uint32_t tensor = wire_load16(frame->payload), length = wire_load32(frame->payload + 8);
    const uint8_t *bytes = NULL;
    if (length <= WIRE_READ_MAX_BYTES)
        bytes = fqt_tensor_bytes(&net, tensor, wire_load32(frame->payload + 4), length);
    if (bytes == NULL)
        link_refuse(&link, WIRE_BAD_RANGE, tensor);
    else
        link_reply(&link, WIRE_DATA, bytes, length);
}

static void status(void)
{
    const struct link_counters *counters = &link.counters;
    const uint32_t reply[8] = {
        (uint32_t)((uintptr_t)__stack_end - (uintptr_t)__stack_start),
        chip_stack_peak_bytes(),
        counters->good,
        counters->bad,
        counters->duplicates,
        counters->overruns,
        arena_bytes(),
        arena_peak_bytes(),
    };
    link_reply(&link, WIRE_STATUS_REPLY, reply, sizeof reply);
}

/* The wire keeps its memory: the image is the same, and fqt_load leaves slots and ring alone. */
static void restart(void)
{
    load_image();
    if (image_status == FQT_OK && link.memory.slots == fallback_slots)
        image_status = FQT_BAD_IO; /* as wire_memory found when the chip started */
    const uint32_t reply[2] = {(uint32_t)image_status, image_detail};
    link_reply(&link, WIRE_RESTARTED, reply, sizeof reply);
}

static void sink(const struct wire_frame *frame)
{
    sunk_frames++;
    sunk_bytes += frame->payload_bytes;
    const uint32_t reply[2] = {sunk_frames, sunk_bytes};
    link_reply(&link, WIRE_SUNK, reply, sizeof reply);
}

static void execute(const struct wire_frame *frame)
{
    if (frame->flags != 0) {
        link_refuse(&link, WIRE_UNKNOWN_TYPE, frame->type | (uint32_t)frame->flags << 8);
        return;
    }
    switch (frame->type) {
    case WIRE_HELLO: hello(frame); break;
    case WIRE_TRAIN: train(frame); break;
    case WIRE_EVALUATE: evaluate(frame); break;
    case WIRE_CHECKSUM: checksum(); break;
    case WIRE_READ: read_tensor(frame); break;
    case WIRE_STATUS: status(); break;
    case WIRE_RESTART: restart(); break;
    case WIRE_SINK: sink(frame); break;
    case WIRE_NOP: link_reply(&link, WIRE_NOP_REPLY, NULL, 0); break;
    default: link_refuse(&link, WIRE_UNKNOWN_TYPE, frame->type); break;
    }
}

int main(void)
{
    chip_start();
    load_image();
    const struct link_memory memory = wire_memory();
    const uint32_t boot[2] = {chip_part(), chip_reset_reason()};
    link_start(&link, &memory, (const uint8_t *)boot, sizeof boot);
    for (;;) {
        const struct wire_frame *frame = link_poll(&link);
        if (frame != NULL)
            execute(frame);
        else
            chip_wait(link_settled(&link));
    }
}
