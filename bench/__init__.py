"""Benchmarks with bars: `python -m bench` runs them all, each in a process of its own, into bench/results.json."""
