CPU := -mcpu=cortex-m0plus -mthumb -mfloat-abi=soft
# Behind the linker: the boot ROM starts a second stage only with its checksum.
FINISH := boot2_checksum.py
