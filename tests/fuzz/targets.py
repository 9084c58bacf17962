"""libFuzzer targets: how they are built, and what they begin with; ``python -m tests.fuzz.targets`` runs them long."""

import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from hypothesis import HealthCheck, Phase, given, seed, settings

from fqtbench.wire.frames import PROTOCOL_VERSION, Type
from tests.engine.networks import Case, cases
from tests.tools import require

_HERE: Final = Path(__file__).resolve().parent
_FIRMWARE: Final = _HERE.parents[1] / "firmware"
_BUILD_DEADLINE_S: Final = 180
_GRACE_S: Final = 60  # for a last input, and to write what was found
_MOST_CHARACTERS: Final = 12_000  # of what is said about a finding
_N_IMAGES: Final = 40
_SESSION: Final = 0x1234


class Target(NamedTuple):
    """A target: its source, the firmware's sources that it is linked with, and its seeds by name."""

    name: str
    sources: tuple[str, ...]
    seeds: Callable[[], list[bytes]]


def _images() -> list[bytes]:
    """Return images of small random networks of every kind."""
    found: list[bytes] = []

    @seed(5)
    @settings(
        max_examples=_N_IMAGES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(n_samples=2))
    def collect(case: Case) -> None:
        found.append(case.compile().image)

    collect()
    return found


def _conversations() -> list[bytes]:
    """Return sessions of a host: a greeting, then frames in order, twice, and out of order."""

    def piece(type_: int, session: int, number: int, payload: bytes) -> bytes:
        body = struct.pack("<BBHI", type_, 0, session, number) + payload
        return bytes((1, len(body))) + body

    hello = piece(Type.HELLO, _SESSION, 0, struct.pack("<IHH", 0x56780000 | _SESSION, PROTOCOL_VERSION, 0))
    frames = [
        piece(kind, _SESSION, n, bytes(n)) for n, kind in enumerate((Type.TRAIN, Type.NOP, Type.ASK), 1)
    ]
    raw = bytes((0, 5)) + b"\x01\x00\xff\x03\x00"
    return [hello + b"".join(frames), hello + frames[0] + frames[0], hello + frames[2] + raw, raw * 8]


TARGETS: Final = (
    Target("loader", ("engine/*.c", "engine/kernels/*.c"), _images),
    Target("frames", ("wire/*.c", "engine/crc32.c"), _conversations),
)


def build(target: Target, folder: Path) -> Path:
    """Build `target` with AddressSanitizer and UndefinedBehaviorSanitizer."""
    program = folder / target.name
    sources = [str(path) for pattern in target.sources for path in sorted(_FIRMWARE.glob(pattern))]
    command = [
        *(require("clang", "clang libclang-rt-14-dev"), "-std=c11", "-g", "-O1", "-ffp-contract=off"),
        *(
            "-fno-strict-aliasing",
            "-fsanitize=fuzzer,address,undefined,float-cast-overflow",
            "-fno-sanitize-recover=all",
        ),
        *(f"-I{_FIRMWARE / 'engine'}", f"-I{_FIRMWARE / 'wire'}", str(_HERE / f"{target.name}.c"), *sources),
        *("-lm", "-o", str(program)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_DEADLINE_S, check=False)
    assert done.returncode == 0, done.stderr
    return program


def _without_progress(said: str) -> str:
    """Leave out libFuzzer's lines on its progress, which would hide what the sanitizer found."""
    return "\n".join(line for line in said.splitlines() if not line.startswith("#"))


def fuzz(target: Target, folder: Path, seconds: int) -> str:
    """Fuzz for so long; return what libFuzzer said. A finding fails, and stays as a file in `folder`."""
    corpus = folder / f"{target.name}-corpus"
    corpus.mkdir()
    for number, content in enumerate(target.seeds()):
        (corpus / str(number)).write_bytes(content)
    command = [
        *(
            str(build(target, folder)),
            str(corpus),
            f"-max_total_time={seconds}",
            "-timeout=60",
            "-max_len=16384",
        ),
        *(
            "-rss_limit_mb=0",
            "-malloc_limit_mb=2048",
            "-print_final_stats=1",
            f"-artifact_prefix={folder}/{target.name}-",
        ),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=seconds + _GRACE_S, check=False
    )
    assert done.returncode == 0, _without_progress(done.stderr)[-_MOST_CHARACTERS:]
    return done.stderr


def main() -> None:
    """Fuzz each target for FUZZ_SECONDS."""
    seconds = int(os.environ.get("FUZZ_SECONDS", "600"))
    folder = Path(tempfile.mkdtemp(prefix="fqtbench-fuzz-"))
    for target in TARGETS:
        said = fuzz(target, folder, seconds).splitlines()
        runs = next(line for line in said if line.startswith("stat::number_of_executed_units"))
        sys.stdout.write(f"{target.name}: {seconds} s, {runs.split()[-1]} inputs, no finding\n")


if __name__ == "__main__":
    main()
