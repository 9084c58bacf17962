/* The runner without an operating system, under QEMU: files by semihosting (Arm, "Semihosting for AArch32 and AArch64").
 * Linker script: runner.ld, with the memories of the machine. */
#include <stddef.h>

#include "runner.h"

enum { SYS_OPEN = 0x01, SYS_WRITE0 = 0x04, SYS_WRITE = 0x05, SYS_READ = 0x06, SYS_EXIT = 0x18 };
enum { MODE_READ_BINARY = 1, MODE_WRITE_BINARY = 5 };
#define STOPPED_APPLICATION_EXIT 0x20026u
#define STOPPED_RUN_TIME_ERROR 0x20023u
#define GUARD_BYTES 256u /* on either side of the arena: no sanitizer sees this core's kernels write beside it */
#define GUARD 0x5Au
#define CPACR (*(volatile uint32_t *)0xE000ED88u) /* Armv7-M ARM, B3.2.20 */
#define CPACR_FPU_FULL_ACCESS (0xFu << 20)

extern uint32_t __bss_start[], __bss_end[], __stack_end[];

static uint8_t image[IMAGE_BYTES] __attribute__((aligned(8)));
static uint8_t arena[GUARD_BYTES + ARENA_BYTES + GUARD_BYTES] __attribute__((aligned(8)));
static uint32_t arena_bytes; /* between the guards, 0 before the first case */
static uint8_t sample[SAMPLE_BYTES] __attribute__((aligned(8)));
static uint32_t cases, results;

static uint32_t semihost(uint32_t operation, const void *parameters)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = parameters;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static uint32_t open_file(const char *name, uint32_t length, uint32_t mode)
{
    const uint32_t parameters[] = {(uint32_t)(uintptr_t)name, mode, length};
    return semihost(SYS_OPEN, parameters);
}

bool runner_read(void *data, uint32_t n)
{
    const uint32_t parameters[] = {cases, (uint32_t)(uintptr_t)data, n};
    return semihost(SYS_READ, parameters) == 0; /* bytes not read */
}

void runner_write(const void *data, uint32_t n)
{
    const uint32_t parameters[] = {results, (uint32_t)(uintptr_t)data, n};
    semihost(SYS_WRITE, parameters);
}

static void stop(const char *why)
{
    semihost(SYS_WRITE0, why);
    semihost(SYS_EXIT, (const void *)STOPPED_RUN_TIME_ERROR);
}

static void guard_arena(uint32_t n)
{
    for (uint32_t i = 0; i < GUARD_BYTES; i++) {
        arena[i] = arena[GUARD_BYTES + n + i] = GUARD;
    }
    arena_bytes = n;
}

static void check_arena(void)
{
    for (uint32_t i = 0; i < GUARD_BYTES && arena_bytes != 0; i++) {
        if (arena[i] != GUARD || arena[GUARD_BYTES + arena_bytes + i] != GUARD) {
            stop("the engine wrote beside its arena\n");
        }
    }
}

uint8_t *runner_memory(enum runner_memory kind, uint32_t n)
{
    static const struct {
        uint8_t *base;
        uint32_t bytes;
    } memories[] = {[RUNNER_IMAGE] = {image, sizeof image},
                    [RUNNER_ARENA] = {arena + GUARD_BYTES, ARENA_BYTES},
                    [RUNNER_SAMPLE] = {sample, sizeof sample}};
    if (n > memories[kind].bytes) {
        return NULL;
    }
    if (kind == RUNNER_ARENA) {
        check_arena();
        guard_arena(n);
    }
    return memories[kind].base;
}

static void reset(void)
{
    for (uint32_t *word = __bss_start; word < __bss_end; word++) {
        *word = 0;
    }
#if defined(__ARM_FP)
    CPACR |= CPACR_FPU_FULL_ACCESS;
    __asm__ volatile("dsb\n isb");
#endif
    cases = open_file("cases.bin", 9, MODE_READ_BINARY);
    results = open_file("results.bin", 11, MODE_WRITE_BINARY);
    runner_main();
    check_arena();
    semihost(SYS_EXIT, (const void *)STOPPED_APPLICATION_EXIT);
}

static void fault(void)
{
    stop("the engine faulted\n");
}

__attribute__((section(".vectors"), used)) static const void *const vectors[] = {
    __stack_end, (const void *)reset, (const void *)fault, (const void *)fault,
    (const void *)fault, (const void *)fault, (const void *)fault,
};
