"""Brings files into the lake, checked row by row."""
