"""What the engine's kernels cost on a core, each by itself: the command `fqtbench kernels`."""
