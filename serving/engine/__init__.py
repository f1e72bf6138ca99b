"""Loads, verifies, warms and swaps one release."""
