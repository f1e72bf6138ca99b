"""Describes the programs of a region and of the control group."""
