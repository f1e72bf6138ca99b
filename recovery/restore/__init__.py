"""Restores a region from the vault, step by step."""
