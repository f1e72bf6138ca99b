"""Defines the networks, ranks with them, and exports them."""
