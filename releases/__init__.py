"""From gated to champion and back, as the ledger tells it."""
