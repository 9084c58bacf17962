"""The bench as a whole: what is plugged in, which board it belongs to, and why one would not work."""
