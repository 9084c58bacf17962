"""Timing models: what a basic block costs on a core."""
