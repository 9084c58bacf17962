"""Processes that a test has started, however deep: found by a word in their environment."""

import psutil

MARKER = "FQTBENCH_TEST"


def marked(word: str) -> list[psutil.Process]:
    """Return the processes whose environment says MARKER=`word`."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARKER) == word:
                found.append(process)
        except psutil.Error:
            continue
    return found


def assert_gone(word: str, deadline_s: float) -> None:
    """Each of these processes ends by itself."""
    _, alive = psutil.wait_procs(marked(word), timeout=deadline_s)
    assert not alive
