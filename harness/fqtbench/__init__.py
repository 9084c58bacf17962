"""fqtbench: train neural networks on Cortex-M microcontrollers, and measure them while they do it."""

__version__ = "0.1.0"
