"""Keeps what a release is in MLflow: a version that is a model, its card, and the one way to load it."""
