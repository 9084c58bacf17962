"""What the README promises, measured: each module prints its figures and keeps them in results/promises."""
