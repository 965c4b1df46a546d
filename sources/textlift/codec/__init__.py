"""Bytes to text columns: pure functions of a response and the frozen schema of its endpoint."""
