"""Where the files lie that travel with the package: board models, suites, prebuilt firmware."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def share(name: str) -> Path:
    """Return the folder `name` (``boards``, ``experiments``, ``firmware/prebuilt``).

    In an installed wheel it lies in the package's ``_share``, in a clone at the clone's root.
    """
    installed = _PACKAGE / "_share" / name
    return installed if installed.exists() else _PACKAGE.parents[1] / name
