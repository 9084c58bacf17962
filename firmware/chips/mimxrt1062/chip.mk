# The core also computes doubles in hardware (fpv5-d16); nothing in the firmware may need one (-Wdouble-promotion), and with
# single precision only, one that slipped in would cost what it costs on the other chips.
CPU := -mcpu=cortex-m7 -mthumb -mfloat-abi=hard -mfpu=fpv5-sp-d16 -DFQT_FPU_VMLA=1
