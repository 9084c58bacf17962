"""CPU time of decoding the PPK2's samples, ours and ppk2-api's on the same bytes: ``python -m benchmarks.ppk2_decode``.

The bytes are an emulated PPK2's, of a board that trains and waits: its range changes now and then, and its current is
noisy. Both get them in the pieces that a driver reads.
"""

import statistics
import time
from collections.abc import Callable
from typing import Final

import numpy as np
from ppk2_api.ppk2_api import PPK2_API

from benchmarks.promise import Promise, keep
from fqtbench.power.ppk2_samples import SampleDecoder
from fqtbench.power.ppk2_units import CONSTANTS, current_table_a
from fqtbench.virtual.instruments import ppk2_codes
from fqtbench.virtual.instruments.instrument import Faults
from fqtbench.virtual.uart_line import PtyLine

_RATE_HZ: Final = 100_000
_SECONDS: Final = 10
_PIECE_BYTES: Final = 16_000  # what the driver gathers, 40 ms
_ROUNDS: Final = 5
_VOLTS: Final = 3.3
_MOST_SHARE: Final = 0.02
_LEAST_RATIO: Final = 10


def main() -> None:
    """Decode the same seconds by both, in turns, and compare their CPU time."""
    pieces = _pieces()
    table = current_table_a(np.array([ppk2_codes.CONSTANTS[name] for name in CONSTANTS]), _VOLTS)
    second = pieces[: len(pieces) // _SECONDS]
    library = _library()
    ours, theirs = [], []
    for _ in range(_ROUNDS):
        ours.append(_cpu_s(SampleDecoder(table).push, pieces) / _SECONDS)
        theirs.append(_cpu_s(library.get_samples, second))
    share, ratio = (
        statistics.median(ours),
        statistics.median(t / o for t, o in zip(theirs, ours, strict=True)),
    )
    command = "python -m benchmarks.ppk2_decode"
    keep("ppk2_decode", Promise(70, "decoding a PPK2's 100 kS/s, share of one core",
                                f"≤ {100 * _MOST_SHARE:.0f} %", f"{100 * share:.2f} % (median of {_ROUNDS})",
                                share <= _MOST_SHARE, command))  # fmt: skip
    keep("ppk2_decode_ratio", Promise(71, "CPU time of ppk2-api 0.9.2 for the same samples, of ours",
                                      f"≥ {_LEAST_RATIO} times", f"{ratio:.0f} times (median of {_ROUNDS})",
                                      ratio >= _LEAST_RATIO, command))  # fmt: skip


def _pieces() -> list[bytes]:
    """Return the seconds' bytes in pieces."""
    n = _SECONDS * _RATE_HZ
    steps = np.where(
        np.arange(n) // 3000 % 2, 6.2e-3, 0.9e-3
    )  # every 30 ms from waiting to training and back
    converter = ppk2_codes.Converter(Faults(noise_a=50e-6))
    data = converter.bytes_of(converter.words(steps, (np.arange(n) // 700 % 2).astype(np.uint8), _VOLTS))
    return [data[at : at + _PIECE_BYTES] for at in range(0, len(data), _PIECE_BYTES)]


def _library() -> PPK2_API:
    """Return the library, at a port that says nothing, with the emulated instrument's constants."""
    line = PtyLine()
    library = PPK2_API(line.url)
    line.close()
    library.current_vdd = _VOLTS * 1000
    for name, row in ppk2_codes.CONSTANTS.items():
        library.modifiers[name] = {str(k): value for k, value in enumerate(row)}
    return library


def _cpu_s(decode: Callable[[bytes], object], pieces: list[bytes]) -> float:
    """Return the CPU time for these pieces, in s."""
    began_s = time.process_time()
    for piece in pieces:
        decode(piece)
    return time.process_time() - began_s


if __name__ == "__main__":
    main()
