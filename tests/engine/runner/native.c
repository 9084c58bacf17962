/* The runner as a program of this machine: cases on standard input, results on standard output. Every buffer is allocated
 * anew and exactly, so that AddressSanitizer sees one byte too many. */
#include <stdio.h>
#include <stdlib.h>

#include "runner.h"

static uint8_t *memories[RUNNER_N_MEMORIES];

bool runner_read(void *data, uint32_t n)
{
    return fread(data, 1, n, stdin) == n;
}

void runner_write(const void *data, uint32_t n)
{
    fwrite(data, 1, n, stdout);
}

uint8_t *runner_memory(enum runner_memory kind, uint32_t n)
{
    free(memories[kind]);
    memories[kind] = malloc(n);
    for (uint32_t i = 0; i < n; i++) {
        memories[kind][i] = 0xA5;
    }
    return memories[kind];
}

int main(void)
{
    runner_main();
    for (int i = 0; i < RUNNER_N_MEMORIES; i++) {
        free(memories[i]);
    }
    return 0;
}
