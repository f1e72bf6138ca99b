"""Tests what a release is in MLflow."""
