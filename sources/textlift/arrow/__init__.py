"""Convert text to typed Arrow tables."""
