"""Logs what shoppers did and what they were answered."""
