"""A launched board with a trouble: ``python -m tests.reliability.board TROUBLE MODEL [options of fqtbench virtual]``.

TROUBLE is JSON. As every launched board it prints its addresses, and ends when its standard input closes.
"""

import json
import os
import signal
import subprocess
import sys
from typing import Final, NoReturn

from tests.reliability.relays import Relays
from tests.reliability.trouble import Trouble

_STDIN: Final = 0
_END_DEADLINE_S: Final = 10
_DIED: Final = 9


def main() -> None:
    """Serve until standard input closes or the trouble ends the board."""
    trouble = Trouble.model_validate_json(sys.argv[1])
    command = [sys.executable, "-m", "fqtbench.virtual", *sys.argv[2:]]
    board = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert board.stdout is not None

    def die() -> NoReturn:
        board.send_signal(signal.Signals[trouble.dies_by])
        board.wait(_END_DEADLINE_S)
        relays.close()
        print(f"the board was ended by {trouble.dies_by}", file=sys.stderr, flush=True)
        os._exit(_DIED)

    relays = Relays(json.loads(board.stdout.readline()), trouble, die)
    print(json.dumps(relays.addresses), flush=True)
    while _STDIN not in relays.turn((_STDIN,)) or os.read(_STDIN, 1):
        pass
    board.communicate(timeout=_END_DEADLINE_S)
    relays.close()


if __name__ == "__main__":
    main()
