"""Datasets by name: what is shipped, what registries carry, and what lies in folders of the user's."""

from fqtbench.datasets.catalogue import ENTRIES, Entry, fetch, find, load, names
from fqtbench.datasets.dataset import Dataset
from fqtbench.datasets.options import NO_OPTIONS, Options
from fqtbench.datasets.transform import transform

__all__ = [
    "ENTRIES",
    "NO_OPTIONS",
    "Dataset",
    "Entry",
    "Options",
    "fetch",
    "find",
    "load",
    "names",
    "transform",
]
