"""Files that are there whole or not at all, whatever ends the program or the power."""

import os
from pathlib import Path


def write_durably(path: Path, data: bytes) -> None:
    """Write a file so that, whatever happens, it is there whole or not at all; the caller syncs the folder."""
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def sync_folder(folder: Path) -> None:
    """See a folder's entries on the disk, where the system can do that."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
