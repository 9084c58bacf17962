/* Vector table, reset and faults. No interrupt is ever taken: PRIMASK stays set, and what wakes the core from WFI
 * is only a pending interrupt (ARMv7-M ARM, B1.5.19).
 *
 * Code runs from ITCM; in flash lie only what comes here first and the vectors. Until `start` has copied the code, nothing may be
 * called, not even a memcpy that the compiler thinks of. */
#include "../chip.h"
#include "../cortex_m.h"
#include "memory.h"
#include "registers.h"
#include "reset.h"

#define STACK_PAINT 0xA5A5A5A5u
#define N_EXCEPTIONS 16u

/* FlexRAM's 16 banks of 32 KB, the lowest bits for the first: 1 OCRAM, 2 DTCM, 3 ITCM (RM, IOMUXC_GPR, GPR17). */
#define FLEXRAM_BANKS 0x55AAAAFFu /* 4 ITCM, 8 DTCM, 4 OCRAM */
#define FLEXRAM_TCM_SIZES (IOMUXC_GPR_GPR14_CM7_CFGITCMSZ_CM7_CFGITCMSZ_8 | IOMUXC_GPR_GPR14_CM7_CFGDTCMSZ_CM7_CFGDTCMSZ_9)
/* Both TCMs on, banks as above; the upper bits are where the core finds its vectors after a reset: the boot ROM. */
#define FLEXRAM_SELECT (0x00200003u | IOMUXC_GPR_GPR16_FLEXRAM_BANK_CFG_SEL)

#define IN_FLASH __attribute__((section(".startup"), used, noreturn, optimize("no-tree-loop-distribute-patterns")))

extern uint32_t __text_start[], __text_end[], __data_start[], __data_end[], __bss_start[], __bss_end[];
extern const uint32_t __text_load[], __data_load[];

int main(void);
void reset_handler(void);
void start(void);

static void fault_handler(void)
{
    uint32_t exception;
    __asm volatile("mrs %0, ipsr" : "=r"(exception));
    SRC_GPR5 = (RESET_FAULT & RESET_FAULT_MASK) | (exception & ~RESET_FAULT_MASK);
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

/* Gives FlexRAM its shape, then paints the stack before the first frame lies on it. */
__attribute__((naked, used, noreturn, section(".startup"))) void reset_handler(void)
{
    __asm volatile(
        "cpsid i\n"
        "ldr r0, =%c1\n"
        "ldr r1, =%c2\n"
        "str r1, [r0, #68]\n" /* GPR17, from GPR0 on */
        "ldr r1, =%c3\n"
        "str r1, [r0, #64]\n" /* GPR16 */
        "ldr r1, =%c4\n"
        "str r1, [r0, #56]\n" /* GPR14 */
        "dsb\n"
        "isb\n"
        "ldr r0, =__stack_start\n"
        "ldr r1, =__stack_end\n"
        "mov sp, r1\n"
        "ldr r2, =%c0\n"
        "1: cmp r0, r1\n"
        "itt lo\n"
        "strlo r2, [r0], #4\n"
        "blo 1b\n"
        "b start\n"
        ".ltorg\n" ::"i"(STACK_PAINT),
        "i"(&IOMUXC_GPR_GPR1 - 1), "i"(FLEXRAM_BANKS), "i"(FLEXRAM_SELECT), "i"(FLEXRAM_TCM_SIZES));
}

IN_FLASH void start(void)
{
    const uint32_t *from = __text_load;
    for (uint32_t *to = __text_start; to < __text_end; to++)
        *to = *from++;
    from = __data_load;
    for (uint32_t *to = __data_start; to < __data_end; to++)
        *to = *from++;
    for (uint32_t *to = __bss_start; to < __bss_end; to++)
        *to = 0;
    SCB_VTOR = (uint32_t)(uintptr_t)&vectors;
    SCB_CPACR |= SCB_CPACR_FPU;
    core_dsb();
    core_isb();
    SYST_CSR = 0; /* the boot ROM may have used it; pending for ever, it would end each WFI */
    memory_start();
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
