"""Commands on regions, snapshots and erasure."""
