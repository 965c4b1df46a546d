"""Speed and memory beside those of other ways to load the same data: ``make bench``."""
