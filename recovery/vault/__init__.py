"""Keeps snapshots: the locked bucket, its encryption, its manifests, and the vault lock."""
