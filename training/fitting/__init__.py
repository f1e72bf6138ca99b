"""Fits a model: the loop, its process, and what is kept of it."""
