/* Which variants of the kernels are compiled. Each has a twin in portable C, which gives the same bits; with FQT_PORTABLE
 * defined only those are. */
#ifndef FQT_VARIANT_H
#define FQT_VARIANT_H

#if defined(__ARM_FEATURE_DSP) && !defined(FQT_PORTABLE)
#define FQT_DSP 1 /* Armv7E-M with the DSP extension: Cortex-M4, M7 */
#else
#define FQT_DSP 0
#endif

#if defined(__ARM_ARCH_6M__) && !defined(FQT_PORTABLE)
#define FQT_ARMV6M 1 /* Cortex-M0, M0+ */
#else
#define FQT_ARMV6M 0
#endif

#if defined(__ARM_FEATURE_UNALIGNED) && !defined(FQT_PORTABLE)
#define FQT_UNALIGNED 1 /* words at any address */
#else
#define FQT_UNALIGNED 0
#endif

#if defined(__ARM_FP) && defined(__thumb__) && !defined(FQT_PORTABLE)
#define FQT_FPU 1 /* 32 registers for floats: Cortex-M4, M7 */
#else
#define FQT_FPU 0
#endif

#ifndef FQT_FPU_VMLA
#define FQT_FPU_VMLA 0 /* chip.mk of a Cortex-M7 says 1: no macro of the compiler tells its FPU from a Cortex-M4's */
#endif

#define FQT_DUAL_ISSUE (FQT_DSP && FQT_FPU_VMLA) /* a Cortex-M7: two instructions a cycle */

#endif
