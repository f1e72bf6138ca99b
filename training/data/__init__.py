"""Reads what a training learns from, and what it is asked afterwards."""
