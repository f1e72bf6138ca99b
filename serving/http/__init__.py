"""Serves an engine over HTTP: routes, admission, errors, metrics."""
