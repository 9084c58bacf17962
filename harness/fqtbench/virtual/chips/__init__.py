"""Virtual chips: a package each, named as the chip's firmware, whose `create(line)` returns the chip on its board."""
