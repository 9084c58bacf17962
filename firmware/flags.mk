# Flags of all that runs on a Cortex-M: CPU is the core's.
WARNINGS := -Wall -Wextra -Wconversion -Wshadow -Wdouble-promotion -Wstrict-prototypes -Werror
COMMON := $(CPU) -std=c11 -ffp-contract=off -fno-math-errno -fno-strict-aliasing -ffunction-sections -fdata-sections -fno-common -g0
CFLAGS := $(COMMON) $(WARNINGS)
LINK_ONLY := -nostartfiles --specs=nano.specs -Wl,--gc-sections -Wl,--fatal-warnings -Wl,--build-id=none \
	-Wl,--strip-debug
LDFLAGS := $(COMMON) $(LINK_ONLY)
SPEED := -Os
KERNEL_SPEED := -O2
