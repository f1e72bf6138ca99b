"""Holds what a release is in MLflow: a model that is loaded by name, and answers as an engine does."""
