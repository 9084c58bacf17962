"""`fqtbench lab worker` whose boards are stand-ins: ``python -m tests.hosts.standin_host SCHEDULER NAME NUMBER...``.

With HOLD=path in the environment a run on its boards waits until somebody opens that FIFO for writing. With
OTHER_VERSION in it, it says that it is another fqtbench.
"""

import os
import sys
from pathlib import Path

from fqtbench.hosts.address import Address
from fqtbench.hosts.host import Host
from fqtbench.hosts.serve import serve_host
from tests.experiment.standin_run import WORKER, boards

HELD_WORKER = (sys.executable, "-m", "tests.hosts.held_worker")


def main() -> None:
    scheduler, name, *numbers = sys.argv[1:]
    known = boards(1 + max(map(int, numbers)))
    worker = HELD_WORKER if "HOLD" in os.environ else WORKER
    host = Host(name, [known[int(number)] for number in numbers], worker)
    if "OTHER_VERSION" in os.environ:
        kit = host.card.kit.model_copy(update={"fqtbench": os.environ["OTHER_VERSION"]})
        host.card = host.card.model_copy(update={"kit": kit})
    try:
        serve_host(
            Address.parse(scheduler), None, host, lambda text: print(text, file=sys.stderr, flush=True)
        )
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    assert Path.cwd() == Path(__file__).parents[2]
    main()
