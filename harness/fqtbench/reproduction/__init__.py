"""The paper's experiments and figures: which suites, which tables, which drawings, beside the values that it published."""
