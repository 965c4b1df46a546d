"""dlt resources, load packages, and the loop around ``pipeline.run``."""
