"""Receive what services post, keep it on durable storage, and load it."""
