"""The figures of the reproduction, each from a table, ours beside what the paper published."""
