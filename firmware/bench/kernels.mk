# make -C firmware -f bench/kernels.mk CORE=cortex-m4 builds prebuilt/kernels-<core>.elf and its entry in prebuilt/manifest.json:
# the engine's kernels and a driver that calls one of them, with the flags of a chip that has this core. No start-up, no
# vectors: fqtbench.kernels loads it into a bare virtual core and jumps to `run`. BUILD and OUT as in Makefile.

CHIP_OF_cortex-m0plus := rp2040
CHIP_OF_cortex-m4 := nrf52840
CHIP_OF_cortex-m7 := mimxrt1062

BUILD ?= build/kernels-$(CORE)
OUT ?= prebuilt
CROSS ?= arm-none-eabi-
PYTHON ?= python3
CC := $(CROSS)gcc

ifeq ($(CHIP_OF_$(CORE)),)
$(error no core $(CORE))
endif
include chips/$(CHIP_OF_$(CORE))/chip.mk
include flags.mk

ENGINE_DIR ?= engine
ENTRY := run
TEXT := 0x1000
KERNELS := $(sort $(wildcard $(ENGINE_DIR)/kernels/*.c))
DRIVER := bench/kernel_driver.c
HEADERS := $(sort $(wildcard $(ENGINE_DIR)/*.h $(ENGINE_DIR)/kernels/*.h))
LAYOUT := -Wl,-Ttext=$(TEXT) -Wl,-e$(ENTRY)
FLAGS := $(CFLAGS) $(LINK_ONLY) $(LAYOUT) driver: $(SPEED) kernels: $(KERNEL_SPEED)

OBJECTS := $(patsubst %.c,$(BUILD)/%.o,$(DRIVER) $(KERNELS))
ELF := $(OUT)/kernels-$(CORE).elf
MAKEFILES := bench/kernels.mk flags.mk chips/$(CHIP_OF_$(CORE))/chip.mk

.PHONY: all clean
all: $(ELF)

$(ELF): $(OBJECTS) $(MAKEFILES) manifest.py
	@mkdir -p $(OUT)
	$(CC) $(LDFLAGS) $(LAYOUT) $(OBJECTS) -o $@
	$(PYTHON) manifest.py kernels --core $(CORE) --elf $@ --out $(OUT)/manifest.json --cc $(CC) --flags='$(FLAGS)'

$(BUILD)/$(ENGINE_DIR)/kernels/%.o: $(ENGINE_DIR)/kernels/%.c $(HEADERS) $(MAKEFILES)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(KERNEL_SPEED) -I$(ENGINE_DIR) -c $< -o $@

$(BUILD)/%.o: %.c $(HEADERS) $(MAKEFILES)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(SPEED) -I$(ENGINE_DIR)/kernels -c $< -o $@

clean:
	rm -rf $(BUILD)
