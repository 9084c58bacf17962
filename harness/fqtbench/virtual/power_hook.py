"""A third native hook, which adds up the charge that each block draws and cuts it into samples of an instrument.

It sees exactly the blocks that the first hook (block_hook.py) has counted, and charges the time which that one added.
Time is counted in *ticks*, so many of them to a cycle that a sample period is a whole number of them: periods that are
no whole number of cycles don't drift. A current is a whole number of nA, a charge one of nA·ticks: sums are exact.

A block, or a time asleep, that lasts beyond the end of a sample is shared among the samples by its ticks.
"""

from typing import Final

# Header of the table, int64 each.
COUNTS_ADDRESS, LAST_NOW, LAST_OUTSIDE, TICKS_PER_CYCLE, PERIOD, POSITION, CHARGE, IDLE = range(8)
N_SAMPLES, OVERFLOWED = range(8, 10)
SAMPLES_AT: Final = 16
MAX_SAMPLES: Final = 1 << 16
CURRENTS_AT: Final = SAMPLES_AT + MAX_SAMPLES  # of each halfword's block, in nA

ENOUGH_SAMPLES: Final = MAX_SAMPLES // 2
"""With so many the CPU is to come back, so that they are taken; the rest is for what one block may yet close."""
