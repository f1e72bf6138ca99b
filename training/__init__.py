"""Feature tables -> a measured release bundle: train, evaluate, gate, bundle."""
