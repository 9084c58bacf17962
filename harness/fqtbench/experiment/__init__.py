"""Suites: what a user asks for, the runs that this means, and the folder where their results are kept."""
