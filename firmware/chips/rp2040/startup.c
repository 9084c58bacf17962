/* Vector table, reset and faults. No interrupt is ever taken: PRIMASK stays set, and what wakes the core from WFI
 * is only a pending interrupt (ARMv6-M ARM, DDI 0419, B1.5.18).
 *
 * Code runs from RAM, where an instruction takes its cycles whatever ran before; in flash lie only what comes here first, and
 * what runs once. Until `start` has copied the code, nothing may be called, not even a memcpy that the compiler thinks of. */
#include "../chip.h"
#include "../cortex_m.h"
#include "registers.h"
#include "reset.h"

#define STACK_PAINT 0xA5A5A5A5u
#define N_EXCEPTIONS 16u

#define IN_FLASH __attribute__((section(".startup"), used, noreturn, optimize("no-tree-loop-distribute-patterns")))

extern uint32_t __data_start[], __data_end[], __bss_start[], __bss_end[];
extern const uint32_t __data_load[];

int main(void);
void reset_handler(void);
void start(void);

static void fault_handler(void)
{
    uint32_t exception;
    __asm volatile("mrs %0, ipsr" : "=r"(exception));
    WATCHDOG_SCRATCH1 = (RESET_FAULT & RESET_FAULT_MASK) | (exception & ~RESET_FAULT_MASK);
    reset_all();
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
__attribute__((naked, used, noreturn, section(".startup"))) void reset_handler(void)
{
    __asm volatile(
        ".syntax unified\n"
        "cpsid i\n"
        "ldr r0, =__stack_start\n"
        "ldr r1, =__stack_end\n"
        "mov sp, r1\n"
        "ldr r2, =%c0\n"
        "1: stmia r0!, {r2}\n"
        "cmp r0, r1\n"
        "blo 1b\n"
        "bl start\n"
        ".ltorg\n" ::"i"(STACK_PAINT));
}

IN_FLASH void start(void)
{
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
