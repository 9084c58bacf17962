/* A chip for the firmware's app and wire on the host: standard input and output are the UART's two directions. The
 * receiver behaves as wire/port.h demands, halves refilled on overrun included. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chip.h"
#include "native.h"
#include "port.h"

#define ARENA_BYTES 65536
#define IMAGE_BYTES 64
#define TEXT(value) #value
#define VALUE(name) TEXT(name)

uint8_t __arena_start[ARENA_BYTES] __attribute__((aligned(8)));
uint32_t __stack_start[2];
const uint8_t __image_start[IMAGE_BYTES] = {0};
const uint8_t __build_id[8] = {1, 2, 3, 4, 5, 6, 7, 8};
__asm(".globl __arena_end\n.set __arena_end, __arena_start + " VALUE(ARENA_BYTES));
__asm(".globl __image_end\n.set __image_end, __image_start + " VALUE(IMAGE_BYTES));
__asm(".globl __stack_end\n.set __stack_end, __stack_start + 8");

struct native_options native_options;
static char **arguments;
static uint32_t random_state, cycles;
static uint32_t reset_reason = CHIP_RESET_POWER;

/* ---- the receiver ---- */

static uint8_t *ring;
static uint32_t half_bytes;
static uint32_t current, latched; /* half being filled, and the one after it */
static uint32_t at;               /* in the current half */
static bool ended;
static bool came; /* bytes, since the last wait that might sleep */

static void dma(uint8_t byte)
{
    ring[current * half_bytes + at++] = byte;
    if (at == half_bytes) {
        ended = true;
        current = latched;
        at = 0;
    }
}

void port_receive(uint8_t *to, uint32_t bytes)
{
    ring = to;
    half_bytes = bytes;
    current = 0;
    latched = 1;
    at = 0;
    ended = false;
}

bool port_crossed(void)
{
    if (!ended)
        return false;
    ended = false;
    latched = 1u - current;
    return true;
}

static uint32_t random_below(uint32_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state % n;
}

void native_receive(uint32_t bytes)
{
    uint8_t buffer[4096];
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    while (bytes > 0 && poll(&input, 1, 0) > 0) {
        const ssize_t n = read(STDIN_FILENO, buffer, bytes < sizeof buffer ? bytes : sizeof buffer);
        if (n <= 0)
            exit(0);
        for (ssize_t i = 0; i < n; i++)
            dma(buffer[i]);
        came = true;
        bytes -= (uint32_t)n;
    }
}

void chip_wait(bool may_sleep)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    native_check_rts(true);
    poll(&input, 1, may_sleep && !came ? -1 : 0);
    if (may_sleep)
        came = false;
    native_receive(1u + random_below(100u));
}

/* ---- the transmitter ---- */

void port_transmit(const uint8_t *frame, uint32_t bytes)
{
    while (bytes > 0) {
        const ssize_t n = write(STDOUT_FILENO, frame, bytes);
        if (n <= 0)
            exit(0);
        frame += n;
        bytes -= (uint32_t)n;
    }
}

static bool rts_asserted;

void port_rts(bool asserted)
{
    rts_asserted = asserted;
}

void native_check_rts(bool asserted)
{
    if (rts_asserted == asserted)
        return;
    fprintf(stderr, "RTS is %s\n", rts_asserted ? "asserted" : "not asserted");
    exit(3);
}

/* ---- the rest ---- */

void native_reset(void)
{
    execv("/proc/self/exe", arguments);
    exit(1);
}

void chip_start(void) {}

void chip_count_cycles(void) {}
uint32_t chip_cycles(void) { return cycles += 1000u; }
void chip_spin_us(uint32_t us) { (void)us; }
void chip_trigger(bool high) { (void)high; }
uint32_t chip_part(void) { return 0x12345678u; }
uint64_t chip_device_id(void) { return 0x1122334455667788u; }
uint32_t chip_reset_reason(void) { return reset_reason; }
uint32_t chip_clock_hz(void) { return 64000000u; }
uint32_t chip_baud(void) { return 1000000u; }
uint32_t chip_stack_peak_bytes(void) { return 4; }

int device_main(void);

int main(int argc, char **argv)
{
    uint32_t *fields = &native_options.seed;
    const int n_fields = (int)(sizeof native_options / sizeof *fields);
    arguments = argv;
    if (argc != 1 + n_fields) {
        fprintf(stderr, "usage: device SEED SAMPLE_BYTES N_SLOTS IMAGE_STATUS IMAGE_DETAIL\n");
        return 2;
    }
    for (int i = 0; i < n_fields; i++)
        fields[i] = (uint32_t)strtoul(argv[1 + i], NULL, 0);
    random_state = native_options.seed | 1u;
    return device_main();
}
