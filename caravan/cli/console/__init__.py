"""Prints tables, progress and endings of commands."""
