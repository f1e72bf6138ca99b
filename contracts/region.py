"""Defines a region: one object store, one database, one registry, one online store, engines and an edge.

Locally every service of a region listens on loopback at `base + slot`; the bases are below the range the
kernel hands out for outgoing connections (32768), so a busy machine does not take a port before we do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from contracts.errors import SettingsError

RegionName = Literal["primary", "standby"]

#: A region's engines: who serves all shoppers, the two arms of a canary, and the champion before this one, kept warm.
SLOTS = ("champion", "control", "canary", "former")


def named(name: str) -> RegionName:
    """Return the region of this name. Raises SettingsError for any other word."""
    known: dict[str, RegionName] = {region: region for region in get_args(RegionName)}
    if name not in known:
        raise SettingsError(f"there is no region {name}", remedy=f"use {' or '.join(known)}")
    return known[name]


def other(region: RegionName) -> RegionName:
    """Return the other one of the two."""
    return "primary" if region == "standby" else "standby"


CONTROL_BASE = 20000
REGION_BASE: dict[RegionName, int] = {"primary": 21000, "standby": 22000}


@dataclass(frozen=True, kw_only=True)
class ControlPorts:
    """Where the control group listens: Airflow, its database, the servers of its task logs, and the global edge."""

    airflow: int
    airflow_postgres: int
    airflow_worker_logs: int
    airflow_trigger_logs: int
    global_edge: int

    @classmethod
    def at(cls, offset: int) -> ControlPorts:
        base = CONTROL_BASE + offset
        return cls(
            airflow=base + 80,
            airflow_postgres=base + 432,
            airflow_worker_logs=base + 793,
            airflow_trigger_logs=base + 794,
            global_edge=base + 200,
        )


@dataclass(frozen=True, kw_only=True)
class RegionPorts:
    """Where one region listens. SeaweedFS opens an HTTP and a gRPC port for each of its four roles."""

    postgres: int
    redis: int
    s3: int
    s3_grpc: int
    weed_master: int
    weed_master_grpc: int
    weed_volume: int
    weed_volume_grpc: int
    weed_filer: int
    weed_filer_grpc: int
    mlflow: int
    engine: int
    engine_control: int
    engine_canary: int
    engine_former: int
    edge: int
    metrics: int

    @classmethod
    def at(cls, region: RegionName, offset: int) -> RegionPorts:
        base = REGION_BASE[region] + offset
        return cls(
            postgres=base + 432,
            redis=base + 379,
            s3=base + 333,
            s3_grpc=base + 353,
            weed_master=base + 340,
            weed_master_grpc=base + 350,
            weed_volume=base + 341,
            weed_volume_grpc=base + 351,
            weed_filer=base + 342,
            weed_filer_grpc=base + 352,
            mlflow=base + 500,
            engine=base + 100,
            engine_control=base + 101,
            engine_canary=base + 102,
            engine_former=base + 103,
            edge=base + 200,
            metrics=base + 202,
        )

    def engine_of(self, slot: str) -> int:
        """Return the port of the engine of a slot: champion, control, canary or former."""
        return self.engine if slot == "champion" else int(getattr(self, f"engine_{slot}"))
