"""Learns the sources that need no network: lists of items, and what is popular."""
