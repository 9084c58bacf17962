"""A power monitor of somebody else's: by the board's clock, the first one opened 9 W, each later one 5 mW.

The first is gone in the middle of the windows after those of the first epoch's training, whose figures it gave. The
file of its URL says whether it was opened before. Of fqtbench it knows what docs/power.md says, no more.
"""

from pathlib import Path

from fqtbench.errors import MonitorError


class Opened:
    """The monitor at ``frail:FILE``."""

    origin = "measured"
    model_id = "frail, not calibrated"

    def __init__(self, url, supply):
        self._url, opened = url, Path(url.partition(":")[2])
        self._frail = not opened.exists()
        self._power_w = 9.0 if self._frail else 0.005
        self._asked = False
        opened.touch()

    def start(self):
        """Nothing to start."""

    def stop(self):
        """End the record, if it is all there."""
        if self._frail and self._asked:
            raise MonitorError(
                f"power monitor {self._url}: it was unplugged while it recorded; plug it in again"
            )

    def window_energies_j(self, durations_s, state):
        """Return power × duration for each window, in J."""
        self._asked = True
        return durations_s * self._power_w
