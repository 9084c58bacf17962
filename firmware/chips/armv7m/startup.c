/* Vector table, reset and faults. No interrupt is ever taken: PRIMASK stays set, and what wakes the core from WFI
 * is only a pending interrupt (ARMv7-M ARM, B1.5.19). */
#include "../chip.h"
#include "../cortex_m.h"
#include "fault.h"

#define STACK_PAINT 0xA5A5A5A5u
#define N_EXCEPTIONS 16u

extern uint32_t __data_start[], __data_end[], __bss_start[], __bss_end[];
extern const uint32_t __data_load[];

int main(void);
void reset_handler(void);
void start(void);

struct fault_record fault_record __attribute__((section(".noinit")));

static void fault_handler(void)
{
    uint32_t exception;
    __asm volatile("mrs %0, ipsr" : "=r"(exception));
    fault_record = (struct fault_record){.magic = FAULT_MAGIC, .exception = exception};
    core_dsb();
    SCB_AIRCR = SCB_AIRCR_RESET;
    for (;;)
        core_dsb();
}

struct vectors {
    uint32_t *stack;
    void (*handlers[N_EXCEPTIONS - 1u])(void);
};

/* Device interrupts have no entries: with PRIMASK set their handlers are never called. */
__attribute__((section(".vectors"), used)) static const struct vectors vectors = {
    .stack = __stack_end,
    .handlers = {
        reset_handler, fault_handler, fault_handler, fault_handler, fault_handler,
        fault_handler, fault_handler, fault_handler, fault_handler, fault_handler,
        fault_handler, fault_handler, fault_handler, fault_handler, fault_handler,
    },
};

/* Paints the stack before the first frame lies on it. */
__attribute__((naked, used, noreturn)) void reset_handler(void)
{
    __asm volatile(
        "cpsid i\n"
        "ldr r0, =__stack_start\n"
        "ldr r1, =__stack_end\n"
        "mov sp, r1\n"
        "ldr r2, =%c0\n"
        "1: cmp r0, r1\n"
        "itt lo\n"
        "strlo r2, [r0], #4\n"
        "blo 1b\n"
        "b start\n"
        ".ltorg\n" ::"i"(STACK_PAINT));
}

__attribute__((used, noreturn)) void start(void)
{
    SCB_CPACR |= SCB_CPACR_FPU;
    core_dsb();
    core_isb();
    const uint32_t *from = __data_load;
    for (uint32_t *to = __data_start; to < __data_end; to++)
        *to = *from++;
    for (uint32_t *to = __bss_start; to < __bss_end; to++)
        *to = 0;
    SCB_VTOR = (uint32_t)(uintptr_t)&vectors;
    main();
    for (;;)
        core_wfi();
}

uint32_t chip_stack_peak_bytes(void)
{
    const uint32_t *word = __stack_start;
    while (word < __stack_end && *word == STACK_PAINT)
        word++;
    return (uint32_t)((uintptr_t)__stack_end - (uintptr_t)word);
}
