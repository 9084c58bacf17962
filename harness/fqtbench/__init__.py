"""fqtbench: train neural networks on Cortex-M microcontrollers, and measure them while they do it."""

import os

__version__ = "0.1.0"

# The matrices here are small: threads of OpenBLAS spin longer than they compute, on cores that boards' workers want. It
# reads this when NumPy is imported, so a caller who has imported NumPy before, or has set it, decides.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
