/* Core registers, which vendors' SVD files leave out. Numbers in brackets are sections of the ARMv7-M Architecture Reference
 * Manual, DDI 0403E.e. ARMv6-M (DDI 0419E, B3.2 to B3.4) has SysTick, NVIC, VTOR and AIRCR of these, in the same places. */
#ifndef CORTEX_M_H
#define CORTEX_M_H

#include <stdint.h>

#define CORE_REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

#define DWT_CTRL CORE_REGISTER(0xE0001000u)   /* [C1.8.7] */
#define DWT_CTRL_CYCCNTENA 0x00000001u
#define DWT_CYCCNT CORE_REGISTER(0xE0001004u) /* [C1.8.8] */
#define SYST_CSR CORE_REGISTER(0xE000E010u)   /* [B3.3.3] */
#define SYST_CSR_ENABLE 0x00000001u
#define SYST_CSR_CORE_CLOCK 0x00000004u
#define SYST_RVR CORE_REGISTER(0xE000E014u)   /* [B3.3.4] */
#define SYST_CVR CORE_REGISTER(0xE000E018u)   /* [B3.3.5] */
#define NVIC_ISER(irq) CORE_REGISTER(0xE000E100u + 4u * ((irq) / 32u)) /* [B3.4.4] */
#define NVIC_ICPR(irq) CORE_REGISTER(0xE000E280u + 4u * ((irq) / 32u)) /* [B3.4.7] */
#define NVIC_BIT(irq) (1u << ((irq) % 32u))
#define SCB_VTOR CORE_REGISTER(0xE000ED08u)   /* [B3.2.5] */
#define SCB_AIRCR CORE_REGISTER(0xE000ED0Cu)  /* [B3.2.6] */
#define SCB_AIRCR_RESET 0x05FA0004u           /* VECTKEY | SYSRESETREQ */
#define SCB_CPACR CORE_REGISTER(0xE000ED88u)  /* [B3.2.20] */
#define SCB_CPACR_FPU 0x00F00000u             /* full access to CP10 and CP11 */
#define DEMCR CORE_REGISTER(0xE000EDFCu)      /* [C1.6.5] */
#define DEMCR_TRCENA 0x01000000u

static inline void core_dsb(void) { __asm volatile("dsb" ::: "memory"); }
static inline void core_isb(void) { __asm volatile("isb" ::: "memory"); }
static inline void core_wfi(void) { __asm volatile("wfi" ::: "memory"); }

#endif
