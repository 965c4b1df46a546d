"""Text to typed Arrow tables."""
