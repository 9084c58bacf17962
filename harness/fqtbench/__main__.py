"""Entry point of the commands, ``fqtbench`` and ``python -m fqtbench``.

They take the better part of a second to import. Ctrl-C in that time ends the program as it does later: one line, no
traceback.
"""

import os
import signal
import sys
from typing import Final, NoReturn

from fqtbench import __version__

VERSION: Final = f"fqtbench {__version__}"
_INTERRUPTED: Final = 130  # as in cli_options.py


def _end(*_: object) -> None:
    os.write(2, b"fqtbench: interrupted\n")
    os._exit(_INTERRUPTED)  # an exception might end in a library's own `except`


def main() -> NoReturn:
    """Do what the command line says."""
    if sys.argv[1:] == ["--version"]:
        print(VERSION)
        sys.exit(0)
    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler:  # else it is ignored, in a shell's background
        signal.signal(signal.SIGINT, _end)
    from fqtbench import cli  # noqa: PLC0415

    signal.signal(signal.SIGINT, usual)
    cli.main()


if __name__ == "__main__":
    main()
