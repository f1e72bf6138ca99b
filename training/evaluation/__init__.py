"""Measures challenger, champion and baselines on the same questions."""
