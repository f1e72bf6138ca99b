"""Replays recorded sessions against the edge."""
