"""Holds and renews the lease that says which region is active."""
