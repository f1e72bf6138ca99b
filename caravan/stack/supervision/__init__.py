"""Starts, watches and stops programs with supervisor."""
