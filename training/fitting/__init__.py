"""Fits a model: the training loop, its process, and what is published of it."""
