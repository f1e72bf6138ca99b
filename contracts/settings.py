"""Reads the settings from the environment, once; they are frozen.

Every setting is an environment variable `CARAVAN_<NAME>`; secrets may also be files of that name in a folder
(`CARAVAN_SECRETS_DIR`, by default `<home>/secrets`), which is how the embedded stack and Docker secrets hand
them over. An address that is not set is derived from the region's local ports.
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from contracts.errors import SettingsError
from contracts.region import ControlPorts, RegionName, RegionPorts, other
from contracts.region_paths import RegionPaths
from contracts.sockets import SCHEME, socket_path

#: Name of a data source: part of keys in the lake, of a Feast project and of SQL.
SOURCE_NAME = re.compile(r"^[a-z0-9][a-z0-9-]{0,40}$")
#: Share of the champion's figure.
DEFAULT_GATE_MARGIN = 0.05
#: The page of the shop's API, below Airflow's address.
API_PAGE = "shop-api"


class Settings(BaseSettings):
    """All settings of one process. Times are seconds, sizes bytes."""

    model_config = SettingsConfigDict(env_prefix="CARAVAN_", frozen=True, extra="ignore", env_ignore_empty=True)

    # where
    home: Path = Field(default=Path(".caravan"), description="Folder of all local state.")
    region: RegionName = Field(default="primary", description="The region this process belongs to.")
    host: str = Field(default="127.0.0.1", description="Address that local services bind to.")
    port_offset: int = Field(default=0, ge=0, le=9000, description="Added to every local port.")

    # addresses; empty means: the region's own local port
    database_host: str = Field(default="", description="PostgreSQL host[:port] of the region.")
    redis_host: str = Field(default="", description="Redis host[:port] of the region.")
    s3_endpoint: str = Field(default="", description="Object store URL.")
    mlflow_url: str = Field(default="", description="MLflow server URL.")
    engine_url: str = Field(default="", description="URL of the champion's serving engine.")
    engine_control_url: str = Field(default="", description="URL of the control's serving engine.")
    engine_canary_url: str = Field(default="", description="URL of the canary's serving engine.")
    engine_former_url: str = Field(default="", description="URL of the former champion's serving engine.")
    edge_url: str = Field(default="", description="Envoy URL that shoppers use.")
    airflow_url: str = Field(default="", description="Airflow API server URL.")
    global_edge_url: str = Field(default="", description="Envoy URL that leads shoppers to the active region.")
    primary_edge_url: str = Field(default="", description="Envoy URL of the primary, for the global edge.")
    standby_edge_url: str = Field(default="", description="Envoy URL of the standby, for the global edge.")
    control_database_host: str = Field(default="", description="PostgreSQL host[:port] of the control group.")
    snapshot_endpoint: str = Field(default="", description="URL of the store that keeps snapshots.")

    # names
    bucket: str = Field(default="caravan", description="Bucket of lake and releases.")
    mlflow_bucket: str = Field(default="mlflow", description="Bucket of MLflow's proxied artifacts.")
    snapshot_bucket: str = Field(default="caravan-snapshots", description="Locked bucket of snapshots.")
    shop: str = Field(
        default="shop",
        pattern=SOURCE_NAME.pattern,
        description="The shop that the region serves, and the default source.",
    )

    # engines and behaviour
    catalog_known: float = Field(
        default=0.5, ge=0, le=1, description="Smallest share of a day's items that its catalog must know."
    )
    unknown_items: float = Field(
        default=0.3, ge=0, le=1, description="Largest share of a day's interactions that its catalog may not know."
    )
    catalog_least: float = Field(
        default=0.75, ge=0, le=1, description="Part of the usual items that a catalog must have to pass by itself."
    )
    day_least: float = Field(
        default=0.2, ge=0, le=1, description="Part of the usual events, shoppers, items that a day must have."
    )
    day_most: float = Field(
        default=5.0, ge=1, description="How many times as much as usual a day or a catalog may have."
    )
    bad_above: float = Field(
        default=0.1, ge=0, le=1, description="How much above its usual share what cannot be used may lie."
    )
    replace_loss: float = Field(
        default=0.2, ge=0, le=1, description="Part of a day that `ingest --replace` withdraws without asking."
    )
    event_days: int = Field(default=40, ge=1, description="Days that an event sent to `POST /events` may be old.")
    feature_engine: Literal["duckdb", "spark"] = Field(default="duckdb", description="Engine of feature tables.")
    engine_slot: str = Field(default="champion", description="Which pointer this serving engine follows.")
    request_deadline: float = Field(default=1.0, gt=0, description="Longest time one answer may take.")
    online_read_deadline: float = Field(default=0.05, gt=0, description="Longest wait for the online store.")
    feature_age_limit: float = Field(default=3 * 86400.0, gt=0, description="Oldest feature served as fresh.")
    overlay: bool = Field(default=True, description="Sold out by a newer catalog is gone without a new release.")
    allowed_origins: str = Field(
        default="", description="Origins whose web pages may ask the edge (CORS), by commas; empty: none."
    )
    reviewers: str = Field(default="admin,reviewer", description="Signed-in names that may approve, by commas.")
    approvers_required: int = Field(default=1, ge=1, le=5, description="Different people who must approve.")
    approval_timeout: float = Field(default=86400.0, gt=0, description="Longest wait for an answer; then: rejected.")
    canary_policy: str = Field(default="default", description="How a canary is judged: default, or demo.")
    latency_budget: float = Field(default=0.15, gt=0, description="An answer that took longer is over budget.")
    logs_kept_days: int = Field(default=14, ge=7, description="Days that access, answer and impression logs are kept.")
    logs_mb: int = Field(
        default=4096, ge=64, description="Most MB that each of those logs may take; the oldest days go first."
    )
    access_log_mb: int = Field(default=256, ge=1, description="MB at which the edge begins a new access log.")
    sweep_after_days: int = Field(
        default=14, ge=1, description="Age in days from which `caravan sweep` removes what nobody names."
    )
    disk_reserve_mb: int = Field(
        default=512, ge=0, description="MB that stay free: below, no event is taken and no impression is logged."
    )
    lease_seconds: float = Field(default=30.0, ge=3, description="How long a region may write without renewal.")
    gate_margin: float = Field(
        default=DEFAULT_GATE_MARGIN, ge=0, le=0.5, description="Loss against the champion that always passes the gate."
    )  # fmt: skip
    training_processes: int = Field(default=1, ge=1, description="torchrun processes per node.")
    training_nodes: int = Field(default=1, ge=1, description="torchrun nodes.")
    training_lease: float = Field(default=60.0, gt=0, description="Seconds until a silent trainer is replaced.")
    training_rendezvous: str = Field(default="", description="host:port of torchrun's rendezvous.")

    # secrets
    postgres_password: SecretStr | None = None
    redis_password: SecretStr | None = None
    s3_access_key: SecretStr | None = None
    s3_secret_key: SecretStr | None = None
    mlflow_username: str = "caravan"
    mlflow_password: SecretStr | None = None
    airflow_username: str = "caravan"
    airflow_password: SecretStr | None = None
    pseudonym_key: SecretStr | None = None
    signing_key: SecretStr | None = Field(default=None, description="Private key (PEM, P-256) that signs releases.")
    verify_keys: SecretStr | None = Field(default=None, description="Public keys (PEM) whose releases are trusted.")
    snapshot_access_key: SecretStr | None = Field(default=None, description="Access key of the snapshot writer.")
    snapshot_secret_key: SecretStr | None = Field(default=None, description="Secret key of the snapshot writer.")
    snapshot_key: SecretStr | None = Field(default=None, description="Encrypts database parts and logs in snapshots.")
    token_key: SecretStr | None = Field(default=None, description="Signs the tokens of shoppers' browsers.")
    metrics_token: SecretStr | None = Field(default=None, description="Bearer token of whoever scrapes the metrics.")

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().resolve()

    @property
    def control_ports(self) -> ControlPorts:
        return ControlPorts.at(self.port_offset)

    @property
    def ports(self) -> RegionPorts:
        return self.ports_of(self.region)

    def ports_of(self, region: RegionName) -> RegionPorts:
        return RegionPorts.at(region, self.port_offset)

    @property
    def paths(self) -> RegionPaths:
        """Paths of this process's region."""
        return RegionPaths(self.home / "regions" / self.region)

    def of_region(self, region: RegionName) -> Settings:
        """Return the same settings for a process of another region: its name, paths, addresses and stores."""
        return self.model_copy(update={"region": region})

    @property
    def cache(self) -> Path:
        """Verified copies of objects, and staging; may be deleted at any time while nothing runs."""
        return self.paths.cache

    @property
    def shop_key(self) -> str | None:
        """The key with which the shop's own server asks; None before `caravan up` made one. A file of its own name."""
        try:
            return (secrets_folder(self.home) / f"shop_key_{self.shop}").read_text().strip() or None
        except OSError:
            return None

    def secret(self, name: str) -> str:
        """Return the secret `name`. Raises SettingsError, saying how to get one."""
        value = getattr(self, name)
        if value is None:
            raise SettingsError(
                f"the secret {name} is not set",
                remedy=f"start the stack with `caravan up`, or set CARAVAN_{name.upper()} or CARAVAN_SECRETS_DIR",
            )
        return str(value.get_secret_value())

    @property
    def _postgres_password(self) -> str:
        """As it stands in a URL."""
        return quote(self.secret("postgres_password"), safe="")

    def database_url(self, database: str) -> str:
        """Return the SQLAlchemy URL of one of the region's databases: caravan, mlflow, mlflow_auth or feast."""
        host = self.database_host or f"{self.host}:{self.ports.postgres}"
        return f"postgresql+psycopg2://caravan:{self._postgres_password}@{host}/{database}"

    @property
    def control_database_url(self) -> str:
        """SQLAlchemy URL of our database in the control group: which region is the active one."""
        host = self.control_database_host or f"{self.host}:{self.control_ports.airflow_postgres}"
        return f"postgresql+psycopg2://caravan:{self._postgres_password}@{host}/control"

    @property
    def redis_address(self) -> tuple[str, int]:
        host, _, port = (self.redis_host or f"{self.host}:{self.ports.redis}").partition(":")
        return host, int(port or 6379)

    @property
    def s3_url(self) -> str:
        return self.s3_endpoint or f"http://{self.host}:{self.ports.s3}"

    @property
    def snapshot_url(self) -> str:
        """The object store that keeps the snapshots of this region: the other region's."""
        return self.snapshot_endpoint or f"http://{self.host}:{self.ports_of(other(self.region)).s3}"

    @property
    def mlflow_address(self) -> str:
        return self.mlflow_url or f"http://{self.host}:{self.ports.mlflow}"

    @property
    def engine_address(self) -> str:
        """The champion's engine."""
        return self.engine_address_of("champion")

    def engine_address_of(self, slot: str) -> str:
        """Return where the engine of a slot listens (champion, control, canary or former): a URL, or `unix:PATH`."""
        given = self.engine_url if slot == "champion" else str(getattr(self, f"engine_{slot}_url"))
        return given or f"{SCHEME}{self.socket_path(f'{slot}.sock')}"

    def socket_path(self, name: str) -> Path:
        """Return the path of a unix socket of this region."""
        return socket_path(self.home, f"regions/{self.region}/{name}")

    def edge_address_of(self, region: RegionName) -> str:
        """Return the URL at which the global edge finds the edge of a region."""
        return str(getattr(self, f"{region}_edge_url")) or f"http://{self.host}:{self.ports_of(region).edge}"

    @property
    def edge_address(self) -> str:
        return self.edge_url or f"http://{self.host}:{self.ports.edge}"

    @property
    def global_edge_address(self) -> str:
        """Where shoppers come in when there are two regions."""
        return self.global_edge_url or f"http://{self.host}:{self.control_ports.global_edge}"

    @property
    def airflow_address(self) -> str:
        return self.airflow_url or f"http://{self.host}:{self.control_ports.airflow}"


def secrets_folder(home: Path) -> Path:
    """Return the folder of the secret files of a home."""
    return Path(os.environ.get("CARAVAN_SECRETS_DIR") or home / "secrets").expanduser()


def read_settings(**overrides: object) -> Settings:
    """Read the settings from environment and secrets folder; `overrides` win. Raises SettingsError."""
    home = Path(str(overrides.get("home") or os.environ.get("CARAVAN_HOME") or ".caravan"))
    secrets = secrets_folder(home)
    try:
        return Settings(_secrets_dir=secrets if secrets.is_dir() else None, **overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        problems = "; ".join(
            f"CARAVAN_{'_'.join(str(p) for p in e['loc']).upper()}: {e['msg']}" for e in error.errors()
        )
        raise SettingsError(f"settings are not usable: {problems}", remedy="see docs/settings.md") from None


@cache
def settings() -> Settings:
    """Return the settings of this process, read at first use."""
    return read_settings()
