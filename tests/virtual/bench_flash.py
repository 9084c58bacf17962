"""Measure flashing a virtual board through pyOCD: kB/s of content, verified by reading back.

    python -m tests.virtual.bench_flash [--kb N] [--probe remote:HOST:PORT]

Without `--probe` it starts a virtual nRF52840. kB are 1024 bytes.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from fqtbench.probe import Probe, Segment

CHIP = "nrf52840"
IMAGE_ORIGIN = 0x4_0000  # boards/nrf52840.toml


@contextmanager
def launched_board() -> Iterator[str]:
    """Give the probe id of a virtual board that ends with this block."""
    command = [sys.executable, "-m", "fqtbench.virtual", CHIP]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as board:
        assert board.stdout is not None
        try:
            yield str(json.loads(board.stdout.readline())["probe"])
        finally:
            board.communicate(timeout=10)


def measure(probe_id: str, kb: int) -> None:
    content = [Segment(IMAGE_ORIGIN, random.Random(1).randbytes(kb * 1024))]
    start_s = time.monotonic()
    with Probe(probe_id, CHIP) as probe:
        connected_s = time.monotonic() - start_s
        first = probe.flash(content)
        again = probe.flash(content)
    print(f"connect               {connected_s:6.2f} s")
    print(f"flash {kb:4d} KB, verified {first.duration_s:5.2f} s  {kb / first.duration_s:7.0f} kB/s")
    print(
        f"the same again        {again.duration_s:6.2f} s  {kb / again.duration_s:7.0f} kB/s (nothing programmed)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kb", type=int, default=200)
    parser.add_argument("--probe", help="an existing board's probe id")
    arguments = parser.parse_args()
    if arguments.probe:
        measure(arguments.probe, arguments.kb)
    else:
        with launched_board() as probe_id:
            measure(probe_id, arguments.kb)


if __name__ == "__main__":
    main()
