"""Brings releases from gated to champion and back, as the ledger says."""
