"""Moves an approved release through shadow and canary to champion, or back."""
