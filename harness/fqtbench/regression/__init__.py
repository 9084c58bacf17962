"""The regression gate: two results folders compared, a verdict, and the baseline that it is given against."""
