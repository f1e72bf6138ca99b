"""Stores what must be kept, and moves it whole: objects, directories, the ledger, the registry."""
