"""Runs a region's services on one machine, from wheels alone: configuration, ports, secrets, supervisor, readiness."""

from caravan.stack.lifecycle import ServiceStatus, down, status, up

__all__ = ["ServiceStatus", "down", "status", "up"]
