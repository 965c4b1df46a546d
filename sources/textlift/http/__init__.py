"""Requests to bytes: concurrency, retries, deadlines."""
