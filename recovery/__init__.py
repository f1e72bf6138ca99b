"""Snapshots that are proven, and a region that can be lost."""
