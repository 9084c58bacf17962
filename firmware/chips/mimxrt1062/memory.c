/* Memory protection unit and caches. Numbers in brackets are sections of the ARMv7-M Architecture Reference Manual, DDI 0403E.e.
 *
 * The core may read ahead from any address that counts as normal memory, and the default map counts all of FlexSPI's and SEMC's
 * space so. Therefore everything is closed but what is there (as NXP's SDK does, board.c, BOARD_ConfigMPU).
 * Only flash is cached. ITCM and DTCM need no cache, so what the DMA reads and writes in DTCM needs no care. */
#include "memory.h"

#include "../cortex_m.h"

#define MPU_CTRL CORE_REGISTER(0xE000ED94u)    /* [B3.5.5] */
#define MPU_CTRL_ENABLE 0x00000001u
#define MPU_RNR CORE_REGISTER(0xE000ED98u)     /* [B3.5.6] */
#define MPU_RBAR CORE_REGISTER(0xE000ED9Cu)    /* [B3.5.7] */
#define MPU_RASR CORE_REGISTER(0xE000EDA0u)    /* [B3.5.8] */
#define MPU_REGIONS 16u                        /* RM, ARM Cortex-M7 platform */
#define RASR_ENABLE 0x00000001u
#define RASR_SIZE(log2) (((log2) - 1u) << 1)
#define RASR_NEVER_EXECUTE 0x10000000u
#define RASR_READ_WRITE 0x03000000u
#define RASR_READ_ONLY 0x06000000u
#define RASR_NORMAL 0x00080000u                /* TEX 1, not cached */
#define RASR_NORMAL_CACHED 0x000B0000u         /* TEX 1, C, B: write-back, allocated on reads and writes */
#define RASR_DEVICE 0x00010000u                /* TEX 0, B: shared device */

#define SCB_CCR CORE_REGISTER(0xE000ED14u)     /* [B3.2.8] */
#define SCB_CCR_DC 0x00010000u
#define SCB_CCR_IC 0x00020000u
#define ICIALLU CORE_REGISTER(0xE000EF50u)     /* [B3.2.2] instruction cache, all of it */
#define DCISW CORE_REGISTER(0xE000EF60u)       /* data cache by set and way */
#define SETS 256u                              /* 32 KB in 4 ways of lines of 32 bytes (RM, ARM Cortex-M7 platform) */
#define WAYS 4u
#define SET_SHIFT 5u
#define WAY_SHIFT 30u

struct region {
    uint32_t base, attributes;
};

/* Of overlapping regions the one with the higher number holds [B3.5.3]. */
static const struct region regions[] = {
    {0x00000000u, RASR_SIZE(32u) | RASR_NEVER_EXECUTE},
    {0x00000000u, RASR_SIZE(17u) | RASR_READ_ONLY | RASR_NORMAL},                              /* ITCM */
    {0x20000000u, RASR_SIZE(18u) | RASR_READ_WRITE | RASR_NORMAL | RASR_NEVER_EXECUTE},        /* DTCM */
    {0x40000000u, RASR_SIZE(26u) | RASR_READ_WRITE | RASR_DEVICE | RASR_NEVER_EXECUTE},        /* peripherals */
    {0x60000000u, RASR_SIZE(23u) | RASR_READ_ONLY | RASR_NORMAL_CACHED},                       /* flash */
};

/* Whatever ran before may have left regions of its own. */
static void protect(void)
{
    core_dsb();
    MPU_CTRL = 0;
    for (uint32_t n = 0; n < MPU_REGIONS; n++) {
        MPU_RNR = n;
        MPU_RASR = 0;
        if (n < sizeof regions / sizeof regions[0]) {
            MPU_RBAR = regions[n].base;
            MPU_RASR = regions[n].attributes | RASR_ENABLE;
        }
    }
    MPU_CTRL = MPU_CTRL_ENABLE;
    core_dsb();
    core_isb();
}

/* After power-on caches hold anything. One that is already on holds what it should. */
static void start_caches(void)
{
    if ((SCB_CCR & SCB_CCR_IC) == 0) {
        ICIALLU = 0;
        core_dsb();
        core_isb();
        SCB_CCR |= SCB_CCR_IC;
    }
    if ((SCB_CCR & SCB_CCR_DC) == 0) {
        for (uint32_t set = 0; set < SETS; set++)
            for (uint32_t way = 0; way < WAYS; way++)
                DCISW = way << WAY_SHIFT | set << SET_SHIFT;
        core_dsb();
        SCB_CCR |= SCB_CCR_DC;
    }
    core_dsb();
    core_isb();
}

void memory_start(void)
{
    protect();
    start_caches();
}
