"""Asks people about a release, and takes their answer."""
