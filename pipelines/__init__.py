"""What gets scheduled: one script for each service."""
