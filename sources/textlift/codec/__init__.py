"""Decode bytes to text columns, with pure functions of a response and a frozen schema."""
