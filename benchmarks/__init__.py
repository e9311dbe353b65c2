"""Timings with a goal each; see `benchmarks/README.md`."""
