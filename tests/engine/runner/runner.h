/* What a target gives the engine's test runner: a file of cases, a file of results, and memory. */
#ifndef RUNNER_H
#define RUNNER_H

#include <stdbool.h>
#include <stdint.h>

enum runner_memory { RUNNER_IMAGE, RUNNER_ARENA, RUNNER_SAMPLE, RUNNER_N_MEMORIES };

/* Read exactly n bytes of the case file; false at its end. */
bool runner_read(void *data, uint32_t n);

/* Append to the result file. */
void runner_write(const void *data, uint32_t n);

/* A buffer of exactly n bytes, aligned to 8, or NULL; it replaces the last one of its kind. */
uint8_t *runner_memory(enum runner_memory kind, uint32_t n);

/* Run every case of the file: tests/engine/runners.py describes both files. */
void runner_main(void);

#endif
