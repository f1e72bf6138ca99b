"""Holds the commands on releases and canaries."""
