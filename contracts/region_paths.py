"""Spells every path below a region's home, once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: Names that also stand alone: in a vault, and in the logs of a replay or a test without a region.
EVENT_LOG, ANSWER_LOG, ACCESS_LOG = "event-log", "answer-log", "edge-access.log"
IMPRESSION_LOG = "impression-log"
#: Our services that write a heartbeat.
CONTROLLER, LEASE_DAEMON, REPLICATOR = "controller", "keeper", "feed"


@dataclass(frozen=True)
class RegionPaths:
    """The files and folders of one region; `home` is their folder."""

    home: Path

    @property
    def cache(self) -> Path:
        """Verified copies of objects, and staging; may be deleted at any time while nothing runs."""
        return self.home / "cache"

    @property
    def event_log(self) -> Path:
        """What shoppers did, as JSON lines by day."""
        return self.home / EVENT_LOG

    @property
    def impression_log(self) -> Path:
        """What shoppers were shown, as JSON lines by day; may be removed once a night has landed it."""
        return self.home / IMPRESSION_LOG

    @property
    def answer_log(self) -> Path:
        """What engines answered, as JSON lines by day."""
        return self.home / ANSWER_LOG

    @property
    def logs(self) -> Path:
        """Logs of the programs, and the access log of the edge."""
        return self.home / "logs"

    @property
    def access_log(self) -> Path:
        return self.logs / ACCESS_LOG

    @property
    def edge(self) -> Path:
        """Envoy's bootstrap, routes and clusters."""
        return self.home / "edge"

    @property
    def engine(self) -> Path:
        """What each engine served last, by slot."""
        return self.home / "engine"

    @property
    def training(self) -> Path:
        """Jobs, by source and key."""
        return self.home / "training"

    @property
    def postgres(self) -> Path:
        return self.home / "postgres"

    @property
    def redis(self) -> Path:
        return self.home / "redis"

    @property
    def object_store(self) -> Path:
        return self.home / "seaweedfs"

    @property
    def mlflow(self) -> Path:
        return self.home / "mlflow"

    @property
    def lease(self) -> Path:
        """The region's right to write, as it was last told."""
        return self.home / "lease.json"

    @property
    def alerts(self) -> Path:
        return self.home / "alerts.jsonl"

    @property
    def restore(self) -> Path:
        """The state of the newest restore of this region."""
        return self.home / "recovery" / "restore.json"

    @property
    def failback(self) -> Path:
        return self.home / "recovery" / "failback.json"

    @property
    def suspended(self) -> Path:
        """What a rehearsal stopped of this region."""
        return self.home / "recovery" / "stopped.json"

    def heartbeat(self, service: str) -> Path:
        """Return the file in which one of our services says when it last worked, and at what."""
        return self.home / f"{service}.json"
