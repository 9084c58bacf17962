"""A core's registers by their numbers in DCRSR.REGSEL, as a debugger reads and writes them (ARMv7-M ARM C1.6.3)."""

from typing import Final

import unicorn
from unicorn import arm_const as arm

PC: Final = 15
_GENERAL: Final = (
    *(getattr(arm, f"UC_ARM_REG_R{n}") for n in range(13)),
    arm.UC_ARM_REG_SP,
    arm.UC_ARM_REG_LR,
    arm.UC_ARM_REG_PC,
    arm.UC_ARM_REG_XPSR,
    arm.UC_ARM_REG_MSP,
    arm.UC_ARM_REG_PSP,
)
_SPECIAL: Final = (
    arm.UC_ARM_REG_PRIMASK,
    arm.UC_ARM_REG_BASEPRI,
    arm.UC_ARM_REG_FAULTMASK,
    arm.UC_ARM_REG_CONTROL,
)
_SPECIAL_MASKS: Final = (1, 0xFF, 1, 7)  # Unicorn keeps a bit of its own in CONTROL
_SPECIAL_INDEX: Final = 20
_FPSCR_INDEX: Final = 33
_S0_INDEX: Final = 64


def read(engine: unicorn.Uc, index: int) -> int:
    """Return a register; 0 for one that the core does not have."""
    if index < len(_GENERAL):
        value = int(engine.reg_read(_GENERAL[index]))
        return value & ~1 if index == PC else value
    if index == _SPECIAL_INDEX:
        values = (int(engine.reg_read(r)) & m for r, m in zip(_SPECIAL, _SPECIAL_MASKS, strict=True))
        return int.from_bytes(bytes(values), "little")
    register = _float_register(index)
    return int(engine.reg_read(register)) if register else 0


def write(engine: unicorn.Uc, index: int, value: int) -> None:
    """Write a register; one that the core does not have is left alone."""
    if index < len(_GENERAL):
        engine.reg_write(_GENERAL[index], value)
    elif index == _SPECIAL_INDEX:
        for register, byte in zip(_SPECIAL, value.to_bytes(4, "little"), strict=True):
            engine.reg_write(register, byte)
    else:
        register = _float_register(index)
        if register:
            engine.reg_write(register, value)


def reset(engine: unicorn.Uc, stack: int) -> None:
    """Set what a reset sets, with the first word of the vector table as stack pointer (ARMv7-M ARM B1.5.5)."""
    for register in (arm.UC_ARM_REG_IPSR, *_SPECIAL):
        engine.reg_write(register, 0)
    engine.reg_write(arm.UC_ARM_REG_MSP, stack & ~3)
    engine.reg_write(arm.UC_ARM_REG_SP, stack & ~3)
    engine.reg_write(arm.UC_ARM_REG_LR, 0xFFFFFFFF)
    engine.reg_write(arm.UC_ARM_REG_XPSR, 1 << 24)


def _float_register(index: int) -> int:
    if index == _FPSCR_INDEX:
        return int(arm.UC_ARM_REG_FPSCR)
    n = index - _S0_INDEX
    return int(getattr(arm, f"UC_ARM_REG_S{n}")) if 0 <= n < 32 else 0
