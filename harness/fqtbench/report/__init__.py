"""Tables, figures and the HTML report of a results folder, drawn from its files alone."""

from fqtbench.report.page import write_report

__all__ = ["write_report"]
