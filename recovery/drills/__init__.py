"""Rehearses the loss of a region, with faults, and reports it."""
