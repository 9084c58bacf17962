"""The PPK2's stream of samples: bytes, cut anywhere, into words in a row with what was lost among them.

A sample is a little-endian word of 32 bits: code of the converter 14 bits @0, range 3 bits @14, counter 6 bits @18,
digital inputs 8 bits @24 (Nordic's pc-nrfconnect-ppk). The counter alone tells of losses:

- a gap of g: g words are missing, or g + 64, g + 128, …: a loss is known modulo 64 only. A loss of exactly 64·n words
  at once goes unnoticed here; only a comparison with another clock shows it.
- a gap of 63 with a word equal to the one before it: that word came twice. It might be 63 lost ones, so the sample is
  not used either way.
- counters that don't run on: bytes were lost or added within a word. The stream is taken up again where the counters of
  `RUN` words run on, at one alignment only. A slipped word may by chance have the right counter: the `RUN` words before
  and that run itself are lost as well.

A gap takes its neighbours with it, since bytes lost in the middle of two words leave one of both. Sample numbers go on
behind a loss as if it were the smallest that it can be or, where bytes were skipped, the one nearest to their number: a
window across a lost sample is unusable. A word lost at the very beginning or end only makes the recording shorter.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

WORD_BYTES: Final = 4
RUN: Final = 8
"""Words in a row by which an alignment is recognised: random bytes look so with a probability of 2⁻⁴² at each place."""
_COUNTER_SHIFT: Final = 18
_COUNTERS: Final = 64
_LOOK_BYTES: Final = WORD_BYTES * (RUN - 1) + 6
"""From a place on, so many bytes say whether a run begins there, and whether one does at the three places behind it."""
_MOST_PLACES: Final = 1024  # in one go: a stream with many losses is not searched to its end for each


class Words(NamedTuple):
    """Samples in a row: (n,) words, and (n,) whether the sample is lost; a lost sample's word means nothing."""

    words: NDArray[np.uint32]
    lost: NDArray[np.bool_]


class WordStream:
    """Words in a row from bytes in pieces. What it returns, put together, doesn't depend on where the bytes were cut.

    It holds back the last `RUN` words, which a tear behind them may yet discredit.
    """

    def __init__(self) -> None:
        self._bytes = b""  # from the next word, or while searching the next place, on
        self._held = _Held()
        self._expected: int | None = None  # the next word's counter; None before the first word
        self._aligned = False
        self._skipped = 0  # bytes since the search began

    @property
    def adrift_bytes(self) -> int:
        """How many bytes in a row were no samples; 0 while they are."""
        return self._skipped

    def push(self, data: bytes) -> Words:
        """Take bytes, return the words that are certain now."""
        self._bytes = self._bytes + data if self._bytes else data
        while self._run() if self._aligned else self._search():
            pass
        return self._held.release(RUN)

    def finish(self) -> Words:
        """Return what was held back, at the end of the stream. What can't be verified any more is lost."""
        if self._bytes:
            self._held.discredit(RUN)
            self._held.add_lost(-(-(self._skipped + len(self._bytes)) // WORD_BYTES))
            self._bytes = b""
        return self._held.release(0)

    def _run(self) -> bool:
        """Take words while their counters run on; return whether a search has to begin."""
        assert self._expected is not None
        n = len(self._bytes) // WORD_BYTES
        words = np.frombuffer(self._bytes, "<u4", n)
        counters = (words >> _COUNTER_SHIFT).astype(np.uint8)
        ahead = np.arange(self._expected, self._expected + n, dtype=np.uint32).astype(np.uint8)
        wrong = (counters ^ ahead) & (_COUNTERS - 1)
        torn = bool(wrong.any())
        good = int((wrong != 0).argmax()) if torn else n
        self._held.add(words[:good])
        self._expected = (self._expected + good) % _COUNTERS
        self._bytes = self._bytes[good * WORD_BYTES :]
        self._aligned = not torn
        return torn

    def _search(self) -> bool:
        """Look for the next place where a run begins; return whether to go on."""
        places = min(len(self._bytes) - _LOOK_BYTES + 1, _MOST_PLACES)
        if places <= 0:
            return False
        runs = _runs(self._bytes[: places + _LOOK_BYTES - 1])
        alone = runs[:places] & ~(runs[1 : places + 1] | runs[2 : places + 2] | runs[3 : places + 3])
        place = int(alone.argmax()) if alone.any() else places
        self._skipped += place
        self._bytes = self._bytes[place:]
        if place < places:
            self._take_up()
        return True

    def _take_up(self) -> None:
        """A run begins with the next word: note what was lost before it."""
        counter = (self._bytes[2] >> 2) % _COUNTERS
        torn = self._skipped > 0
        missing, doubtful = -(-self._skipped // WORD_BYTES), RUN if torn else 0
        if self._expected is not None:
            missing, doubtful = (counter - self._expected) % _COUNTERS, RUN if torn else 1
            self._held.discredit(doubtful)
            again = missing == _COUNTERS - 1 and self._skipped % WORD_BYTES == 0
            if again and self._held.ends_with(self._bytes[:WORD_BYTES]):
                missing, doubtful, counter = 0, 0, self._expected  # it came twice: one sample, which is lost
                self._bytes = self._bytes[WORD_BYTES:]
            missing += _COUNTERS * max(round((self._skipped / WORD_BYTES - missing) / _COUNTERS), 0)
        self._held.add_lost(missing + doubtful)
        self._expected = (counter + doubtful) % _COUNTERS
        self._bytes = self._bytes[doubtful * WORD_BYTES :]
        self._aligned, self._skipped = True, 0


def _runs(data: bytes) -> NDArray[np.bool_]:
    """Return (n − 30,) for n bytes: whether the counters of `RUN` words from this place on run on."""
    counters = np.frombuffer(data, np.uint8)[2:] >> 2
    follows = ((counters[WORD_BYTES:] - counters[:-WORD_BYTES]) & (_COUNTERS - 1)) == 1
    n = len(follows) - WORD_BYTES * (RUN - 2)
    runs: NDArray[np.bool_] = follows[:n].copy()
    for step in range(1, RUN - 1):
        runs &= follows[WORD_BYTES * step :][:n]
    return runs


class _Held:
    """Words on their way out."""

    def __init__(self) -> None:
        self._words: list[NDArray[np.uint32]] = []
        self._lost: list[NDArray[np.bool_]] = []

    def add(self, words: NDArray[np.uint32]) -> None:
        self._words.append(words)
        self._lost.append(np.zeros(len(words), np.bool_))

    def add_lost(self, n: int) -> None:
        self._words.append(np.zeros(n, np.uint32))
        self._lost.append(np.ones(n, np.bool_))

    def discredit(self, n: int) -> None:
        """Mark the last `n` as lost."""
        self._join()
        self._lost[0][-n:] = True

    def ends_with(self, word: bytes) -> bool:
        """Whether the last one is this word."""
        self._join()
        return len(self._words[0]) > 0 and self._words[0][-1:].astype("<u4").tobytes() == word

    def release(self, keep: int) -> Words:
        """Return all but the last `keep`."""
        self._join()
        out = max(len(self._words[0]) - keep, 0)
        released = Words(self._words[0][:out], self._lost[0][:out])
        self._words, self._lost = [self._words[0][out:]], [self._lost[0][out:]]
        return released

    def _join(self) -> None:
        if len(self._words) != 1:
            self._words = [np.concatenate([np.zeros(0, np.uint32), *self._words])]
            self._lost = [np.concatenate([np.zeros(0, np.bool_), *self._lost])]
