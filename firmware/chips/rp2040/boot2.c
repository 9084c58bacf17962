/* The second stage of booting: the boot ROM copies the first 256 bytes of flash to the end of RAM, checks their CRC-32
 * (boot2_checksum.py) and calls them there. This sets the flash controller up to read by four lines, then starts the firmware.
 *
 * "RP" is the RP2040 Datasheet: 2.6.3 flash, 2.8.1 boot sequence, 4.10 SSI. "W25Q" is Winbond's W25Q16JV datasheet, revision H, of
 * the Pico's flash. The code lies elsewhere than where it was linked to: it calls nothing outside and refers to no variable.
 */
#include <stdint.h>

#include "../cortex_m.h"
#include "bits.h"
#include "registers.h"

#define READ_STATUS_1 0x05u  /* W25Q 8.1.2, as all commands here */
#define READ_STATUS_2 0x35u
#define WRITE_STATUS_2 0x31u
#define WRITE_ENABLE 0x06u
#define FAST_READ_QUAD_IO 0xEBu
#define STATUS_1_BUSY 0x01u
#define STATUS_2_QUAD 0x02u  /* QE: two pins become data lines */

/* FAST_READ_QUAD_IO: 24 bits of address and 8 mode bits by four lines, then 4 clocks of nothing; with these mode bits the next
 * read begins at once with its address (W25Q 8.2.12). */
#define CONTINUOUS_READ 0xA0u
#define ADDRESS_AND_MODE_4_BITS 8u
#define DUMMY_CLOCKS 4u

/* SCK = clk_sys / 2 = 66.5 MHz, of the flash's 133; at that divisor data are taken one clk_sys later (RP 4.10.13). */
#define SCK_DIVISOR 2u
#define SAMPLE_DELAY 1u

#define BITS_MINUS_1(bits) IN_FIELD(SSI_CTRLR0_DFS_32, (bits) - 1u)
#define XIP_BASE 0x10000000u       /* RP 2.2.1 */
#define FIRMWARE (XIP_BASE + 256u) /* its vectors, behind this stage */

/* A register by its distance from the block's first one: without the compiler's own idea of addresses, which takes four bytes
 * of constant for each. */
#define IN_BLOCK(block, first, reg) (block)[((uintptr_t)&(reg) - (uintptr_t)&(first)) / 4u]
#define IN_SSI(reg) IN_BLOCK(ssi, SSI_CTRLR0, reg)
#define IN_PADS(reg) IN_BLOCK(pads, PADS_QSPI_GPIO_QSPI_SCLK, reg)

#define STAGE_2(name) __attribute__((section(".boot2." name), used, optimize("Os")))

static STAGE_2("more") __attribute__((noinline)) uint32_t exchange(volatile uint32_t *ssi, uint32_t command, uint32_t next, uint32_t bytes)
{
    IN_SSI(SSI_DR0) = command;
    if (bytes > 1u)
        IN_SSI(SSI_DR0) = next;
    while ((IN_SSI(SSI_SR) & (SSI_SR_TFE | SSI_SR_BUSY)) != SSI_SR_TFE)
        continue;
    uint32_t answer;
    do
        answer = IN_SSI(SSI_DR0);
    while (--bytes != 0);
    return answer;
}

STAGE_2("entry") __attribute__((noreturn)) void boot2(void)
{
    volatile uint32_t *pads = &PADS_QSPI_GPIO_QSPI_SCLK, *ssi = &SSI_CTRLR0;
    __asm volatile("" : "+l"(pads), "+l"(ssi));
    IN_PADS(PADS_QSPI_GPIO_QSPI_SCLK) = PADS_QSPI_GPIO_QSPI_SCLK_DRIVE_8MA | PADS_QSPI_GPIO_QSPI_SCLK_SLEWFAST;
    /* Without the hysteresis of the Schmitt trigger data arrive sooner. */
    const uint32_t data_pad = IN_PADS(PADS_QSPI_GPIO_QSPI_SD0) & ~PADS_QSPI_GPIO_QSPI_SD0_SCHMITT;
    IN_PADS(PADS_QSPI_GPIO_QSPI_SD0) = data_pad;
    IN_PADS(PADS_QSPI_GPIO_QSPI_SD1) = data_pad;
    IN_PADS(PADS_QSPI_GPIO_QSPI_SD2) = data_pad;
    IN_PADS(PADS_QSPI_GPIO_QSPI_SD3) = data_pad;

    IN_SSI(SSI_SSIENR) = 0;
    IN_SSI(SSI_BAUDR) = SCK_DIVISOR;
    IN_SSI(SSI_RX_SAMPLE_DLY) = SAMPLE_DELAY;
    IN_SSI(SSI_CTRLR0) = BITS_MINUS_1(8u) | SSI_CTRLR0_TMOD_TX_AND_RX;
    IN_SSI(SSI_SER) = 1u;
    IN_SSI(SSI_SSIENR) = 1u;
    const uint32_t status = exchange(ssi, READ_STATUS_2, 0, 2u);
    if ((status & STATUS_2_QUAD) == 0) {
        exchange(ssi, WRITE_ENABLE, 0, 1u);
        exchange(ssi, WRITE_STATUS_2, status | STATUS_2_QUAD, 2u);
        while ((exchange(ssi, READ_STATUS_1, 0, 2u) & STATUS_1_BUSY) != 0)
            continue;
    }

    /* One read with its command, which leaves the flash in continuous reading; then the controller reads without. */
    IN_SSI(SSI_SSIENR) = 0;
    IN_SSI(SSI_CTRLR0) = SSI_CTRLR0_SPI_FRF_QUAD | BITS_MINUS_1(32u) | SSI_CTRLR0_TMOD_EEPROM_READ;
    IN_SSI(SSI_CTRLR1) = 0;
    const uint32_t by_four_lines = IN_FIELD(SSI_SPI_CTRLR0_ADDR_L, ADDRESS_AND_MODE_4_BITS) |
                                   IN_FIELD(SSI_SPI_CTRLR0_WAIT_CYCLES, DUMMY_CLOCKS);
    IN_SSI(SSI_SPI_CTRLR0) = by_four_lines | SSI_SPI_CTRLR0_INST_L_8B | SSI_SPI_CTRLR0_TRANS_TYPE_1C2A;
    IN_SSI(SSI_SSIENR) = 1u;
    exchange(ssi, FAST_READ_QUAD_IO, CONTINUOUS_READ, 2u);
    IN_SSI(SSI_SSIENR) = 0;
    IN_SSI(SSI_SPI_CTRLR0) = by_four_lines | SSI_SPI_CTRLR0_INST_L_NONE | SSI_SPI_CTRLR0_TRANS_TYPE_2C2A |
                     IN_FIELD(SSI_SPI_CTRLR0_XIP_CMD, CONTINUOUS_READ);
    IN_SSI(SSI_SSIENR) = 1u;

    SCB_VTOR = FIRMWARE;
    const volatile uint32_t *vectors = (const volatile uint32_t *)FIRMWARE;
    __asm volatile(
        ".syntax unified\n"
        "msr msp, %0\n"
        "bx %1\n" ::"l"(vectors[0]), "l"(vectors[1]));
    __builtin_unreachable();
}
