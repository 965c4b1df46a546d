"""Benchmarks that compare textlift with other ways to load the same data: ``make bench``."""
