"""Brings the former region back, with what it had accepted."""
