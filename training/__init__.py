"""Makes a measured release bundle from a day's tables: train, evaluate, gate, bundle."""
