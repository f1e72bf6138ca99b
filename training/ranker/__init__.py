"""Learns how the sources are put together: whom to believe, for which question."""
