"""The measurements of the project: ratios inside one run, written to ``docs/benchmarks``."""
