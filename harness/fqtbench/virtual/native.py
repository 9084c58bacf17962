"""Machine code of the hooks that Unicorn calls: compiled once for a kind of processor, then kept in the user's cache.

Numba compiles them from Python (block_code.py, call_code.py, power_code.py), which takes several times as long as all
else that a virtual board does before it answers. What is compiled refers to nothing outside itself, addresses come in
the hooks' tables; so it is the same in every process, and one that finds it kept imports LLVM alone, not Numba.

What is read from there is executed. It lies in the user's own folder, which nobody else may write; it is no pickle.
"""

import hashlib
import importlib
import os
import stat
import sys
import tempfile
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import llvmlite
import llvmlite.binding as llvm
import unicorn
from platformdirs import user_cache_path

BLOCKS: Final = "block_code"  # modules beside this one
CALLS: Final = "call_code"
POWER: Final = "power_code"
# What compiled code depends on, beside what `_identity` names.
SOURCES: Final = (
    "native",
    "memory",
    "block_hook",
    "block_code",
    "call_hook",
    "call_code",
    "power_hook",
    "power_code",
)
_SYMBOL: Final = "fqtbench_hook"
_DIGEST_BYTES: Final = 32
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


@cache
def address(module: str, folder: Path | None = None) -> int:
    """Return the address of the hook that `module` defines, compiled unless `folder` has it.

    By default that is in the user's cache. A folder that can't be written, or that others may write, is not used. Any
    number of processes may compile at once.
    """
    place = folder or user_cache_path("fqtbench") / "hooks"
    name = f"{module}-{_identity()}.o"
    _initialize()
    code = _read(place, name)
    if code is None:
        code = compiled(module)
        with suppress(OSError):
            _keep(place, name, code)
    return _loaded(code)


@cache
def _initialize() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


@cache
def _identity() -> str:
    """Return a hash of everything that decides what the compiler makes."""
    digest = hashlib.sha256()
    processor = (llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten(), llvm.get_process_triple())
    versions = (metadata.version("numba"), llvmlite.__version__, unicorn.__version__, sys.version)
    for text in (*processor, *versions):
        digest.update(text.encode() + b"\0")
    for source in SOURCES:
        digest.update(Path(__file__).with_name(f"{source}.py").read_bytes() + b"\0")
    return digest.hexdigest()[:24]


def _read(folder: Path, name: str) -> bytes | None:
    """Return the code in a file; None if it isn't there, is not whole, or may be anybody's."""
    try:
        if not (_is_own(folder) and _is_own(folder / name)):
            return None
        content = (folder / name).read_bytes()
    except OSError:
        return None
    code = content[_DIGEST_BYTES:]
    return code if hashlib.sha256(code).digest() == content[:_DIGEST_BYTES] else None


def _is_own(path: Path) -> bool:
    if os.name != "posix":  # the user's profile, to which Windows lets nobody else
        return True
    status = path.stat()
    return status.st_uid == os.getuid() and not status.st_mode & _OTHERS_WRITE


def _keep(folder: Path, name: str, code: bytes) -> None:
    """Write beside the target and rename: another process sees all of it or nothing."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _is_own(folder):
        return
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        written = Path(temporary) / name
        written.touch(mode=0o600)
        written.write_bytes(hashlib.sha256(code).digest() + code)
        written.replace(folder / name)


def compiled(module: str) -> bytes:
    """Return the object file of the hook that `module` defines, which exports `_SYMBOL` and imports nothing.

    Raises RuntimeError where the hook has come to need Python, because it may raise or makes an object.
    """
    _initialize()
    hook = importlib.import_module(f"fqtbench.virtual.{module}").hook
    unit = llvm.parse_assembly(hook._library.get_llvm_str())
    for item in (*unit.functions, *unit.global_variables):
        if not item.is_declaration:
            item.linkage = "internal"
    entry = unit.get_function(hook.native_name)
    entry.linkage = "external"
    entry.name = _SYMBOL
    machine = _machine(unit.triple)
    _simplify(unit, machine)
    needed = [f.name for f in (*unit.functions, *unit.global_variables) if f.is_declaration]
    if any(not name.startswith("llvm.") for name in needed):
        raise RuntimeError(f"the compiled hook {module} needs {', '.join(needed)}; it must need nothing")
    return bytes(machine.emit_object(unit))


def _machine(triple: str) -> Any:
    return llvm.Target.from_triple(triple).create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        jit=True,
    )


def _simplify(unit: Any, machine: Any) -> None:
    """Let LLVM see that a hook never raises, and drop all that Numba prepares for one that does."""
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(unit, builder)


_engines: Final[list[Any]] = []  # own the code: hooks are called as long as the process lives


def _loaded(code: bytes) -> int:
    unit = llvm.parse_assembly("")
    unit.triple = llvm.get_process_triple()
    engine = llvm.create_mcjit_compiler(unit, _machine(unit.triple))
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _engines.append(engine)
    return int(engine.get_function_address(_SYMBOL))
