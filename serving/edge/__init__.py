"""Configures Envoy in front of the engines and of the regions."""
