"""Slow tests: killed at many moments, and read while everything changes. `make test-chaos`."""
