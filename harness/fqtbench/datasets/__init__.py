"""Datasets by name: what is shipped, and what lies in folders of the user's."""

from fqtbench.datasets.catalogue import load, names
from fqtbench.datasets.dataset import Dataset

__all__ = ["Dataset", "load", "names"]
