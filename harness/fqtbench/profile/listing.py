"""blocks.txt: basic blocks with their disassembly and their counts."""

from collections.abc import Iterable
from itertools import groupby
from typing import Any, Final

from fqtbench.errors import UsageError
from fqtbench.profile.model import BlockCost, Profile
from fqtbench.profile.symbols import FirmwareMap

_WIDE_PREFIX: Final = 0xE800  # first halfword of a 32-bit instruction (ARMv7-M ARM A5.1)


def listing(profile: Profile, firmware: FirmwareMap) -> str:
    """Return the listing: functions by their cycles, their blocks by address.

    UsageError without Capstone. `firmware` must be the one that was profiled.
    """
    decoder = _decoder()
    order = {f.name: number for number, f in enumerate(profile.functions)}
    blocks = sorted(profile.blocks, key=lambda b: (order.get(b.function, len(order)), b.address, b.size))
    steps = profile.subject.steps
    lines = [
        f"{profile.subject.run} on {profile.subject.board}: {steps} training steps, {profile.cycles} cycles "
        f"({profile.subject.counted}, {profile.subject.timing_model_id})",
        "block: address, executions, cycles of all of them, cycles and instructions of one",
    ]
    for name, group in groupby(blocks, key=lambda b: b.function):
        own = list(group)
        cycles = sum(b.cycles for b in own)
        lines += ["", f"{name}: {cycles} cycles, {cycles / max(profile.cycles, 1):.2%}"]
        for block in own:
            lines += _block(block, firmware, decoder)
    return "\n".join(lines) + "\n"


def _block(block: BlockCost, firmware: FirmwareMap, decoder: Any) -> Iterable[str]:
    each = block.cycles / max(block.executions, 1)
    yield (
        f"  0x{block.address:08x}  {block.executions} ×  {block.cycles} cycles  "
        f"({each:.2f} each, {block.instructions} instructions)"
    )
    code = firmware.code_at(block.address, block.size)
    at = 0
    while at < len(code):
        halfword = int.from_bytes(code[at : at + 2], "little")
        size = 4 if halfword >= _WIDE_PREFIX else 2
        address = block.address + at
        decoded = next(decoder.disasm(code[at : at + size], address, 1), None)
        text = f"{decoded.mnemonic} {decoded.op_str}" if decoded else f".inst {code[at : at + size].hex()}"
        target = (
            firmware.function_at(int(decoded.op_str[1:], 16)) if decoded and _is_branch(decoded) else None
        )
        where = f"  ; {target.name}" if target and target.name != block.function else ""
        yield f"      {address:08x}  {text.rstrip()}{where}"
        at += size


def _is_branch(decoded: Any) -> bool:
    return bool(decoded.mnemonic.startswith("b") and decoded.op_str.startswith("#0x"))


def _decoder() -> Any:
    try:
        import capstone  # noqa: PLC0415  (of the extra `virtual`)
    except ImportError as error:
        raise UsageError("the disassembly needs Capstone: pip install 'fqtbench[virtual]'") from error
    return capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
