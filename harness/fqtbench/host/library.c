/* The training engine as a shared library: one call a sample, and what its caller can't know of its structures. */
#include "fqt.h"

struct library_step {
    float loss;
    uint32_t predicted, updated, step;
};

uint32_t library_net_bytes(void);
void library_train(struct fqt_net *net, const uint8_t *sample, uint32_t label, struct library_step *out);
void library_evaluate(struct fqt_net *net, const uint8_t *sample, uint32_t label, struct library_step *out);

uint32_t library_net_bytes(void)
{
    return (uint32_t)sizeof(struct fqt_net);
}

void library_train(struct fqt_net *net, const uint8_t *sample, uint32_t label, struct library_step *out)
{
    const struct fqt_outcome outcome = fqt_forward(net, sample, label, true);
    fqt_backward(net);
    const bool due = fqt_update_due(net);
    if (due) {
        fqt_update(net);
    }
    *out = (struct library_step){outcome.loss, outcome.predicted, due ? 1u : 0u, net->step};
}

void library_evaluate(struct fqt_net *net, const uint8_t *sample, uint32_t label, struct library_step *out)
{
    const struct fqt_outcome outcome = fqt_forward(net, sample, label, false);
    *out = (struct library_step){outcome.loss, outcome.predicted, 0, net->step};
}
