#include "runner.h"

#include <stddef.h>

#include "fqt.h"

#define DOES_NOT_FIT 0xFFFFu

struct case_header {
    uint32_t image_bytes, arena_bytes, sample_bytes, n_samples;
};

struct step_result {
    float loss;
    uint32_t predicted, checksum, structures;
};

static uint8_t sink[64];

static void skip(uint32_t n)
{
    while (n > 0) {
        const uint32_t piece = n < sizeof sink ? n : (uint32_t)sizeof sink;
        runner_read(sink, piece);
        n -= piece;
    }
}

/* Sum of the structures updated, each weighted by its layer's place. */
static uint32_t structures(const struct fqt_net *net)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < fqt_n_trained(net); i++) {
        sum += (i + 1u) * fqt_structures_updated(net, i);
    }
    return sum;
}

static void train(struct fqt_net *net, const struct case_header *header, uint8_t *sample)
{
    for (uint32_t i = 0; i < header->n_samples; i++) {
        uint32_t label = 0;
        runner_read(&label, sizeof label);
        runner_read(sample, header->sample_bytes);
        const struct fqt_outcome outcome = fqt_forward(net, sample, label, true);
        fqt_backward(net);
        if (fqt_update_due(net)) {
            fqt_update(net);
        }
        const struct step_result result = {outcome.loss, outcome.predicted, fqt_checksum(net), structures(net)};
        runner_write(&result, sizeof result);
    }
}

static void run_case(const struct case_header *header)
{
    static struct fqt_net net;
    uint32_t status[2] = {DOES_NOT_FIT, 0};
    uint8_t *image = runner_memory(RUNNER_IMAGE, header->image_bytes);
    uint8_t *arena = runner_memory(RUNNER_ARENA, header->arena_bytes);
    uint8_t *sample = runner_memory(RUNNER_SAMPLE, header->sample_bytes);
    if (image == NULL || arena == NULL || sample == NULL) {
        skip(header->image_bytes + header->n_samples * (header->sample_bytes + (uint32_t)sizeof(uint32_t)));
        runner_write(status, sizeof status);
        return;
    }
    runner_read(image, header->image_bytes);
    const struct fqt_region region = {.base = arena, .bytes = header->arena_bytes};
    status[0] = (uint32_t)fqt_load(&net, image, header->image_bytes, &region, 1, &status[1]);
    runner_write(status, sizeof status);
    if (status[0] == FQT_OK) {
        train(&net, header, sample);
    } else {
        skip(header->n_samples * (header->sample_bytes + (uint32_t)sizeof(uint32_t)));
    }
}

void runner_main(void)
{
    struct case_header header;
    while (runner_read(&header, sizeof header)) {
        run_case(&header);
    }
}
