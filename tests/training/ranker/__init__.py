"""Tests of the ranker: what it learns, when it may rank, and its exported program."""
