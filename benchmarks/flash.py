"""Verified flashing of a virtual board through pyOCD: ``python -m benchmarks.flash``."""

import random
from typing import Final

from benchmarks.inline_board import IMAGE_ORIGIN
from benchmarks.promise import Promise, keep
from fqtbench.bench.launch import Attachment
from fqtbench.board import load_instances, load_models
from fqtbench.probe import Probe, Segment

_KB: Final = 200


def main() -> None:
    """Program 200 KB of noise with pyOCD's own algorithm, read it back; and again, which programs nothing."""
    content = [Segment(IMAGE_ORIGIN, random.Random(1).randbytes(_KB * 1024))]
    with (
        Attachment(load_instances(load_models())["virtual-nrf52840"]) as board,
        Probe(board.addresses.probe, "nrf52840") as probe,
    ):
        first, again = probe.flash(content), probe.flash(content)
    rate = _KB / first.duration_s
    keep("flash", Promise(9, "verified flashing of the virtual board", "≥ 80 kB/s", f"{rate:.0f} kB/s", rate >= 80,
                          "python -m benchmarks.flash"))  # fmt: skip
    keep("flash_again", Promise(10, "the same content again, found by read-back", "0 bytes programmed",
                                f"{again.programmed_bytes} bytes programmed", again.programmed_bytes == 0,
                                "python -m benchmarks.flash"))  # fmt: skip


if __name__ == "__main__":
    main()
