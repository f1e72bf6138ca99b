"""Holds a release in memory: its columns, programs and search index."""
