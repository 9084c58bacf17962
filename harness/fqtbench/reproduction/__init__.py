"""The paper's experiments and figures: suites, tables, drawings, beside the values that it published."""
