"""Takes, verifies and retains snapshots."""
