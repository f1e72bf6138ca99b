"""Defines the words that every room shares; this room imports no other."""
