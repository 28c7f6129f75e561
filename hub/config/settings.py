"""The settings: one model, read once, from one TOML file and environment variables over it.

``HUB_CONFIG`` names the file, else ``hub.toml`` in the working directory, else none. Environment variables have
the prefix ``HUB_`` and ``__`` between levels (``HUB_BROKER__URL``); in a repeated table the level after its name
is the position, counted from 0 (``HUB_WEBHOOKS__1__TIMEOUT``), and may be left out when there is only one.
Every secret can be given as ``<name>_file``. Nothing else in the hub reads the environment for settings.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import (
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from hub.config.broker import Broker
from hub.config.loading import are_given, faults_of, read, settings_file, unknown_variables
from hub.config.types import (
    Duration,
    Listen,
    MayBeInAFile,
    Section,
    host_and_port,
    partner_url,
    parts_of,
    remember_secrets,
    shortened,
)
from hub.config.webhooks import WebhookClient
from hub.errors import ConfigError
from hub.models.types import Timestamp


class State(Section):
    """The state store."""

    # A text and not a secret, since most are paths that people look for: shown_url renders it without the password.
    url: MayBeInAFile = Field(
        "sqlite+aiosqlite:///var/hub.db", repr=False, description="SQLAlchemy URL of the state store"
    )
    busy_timeout: Duration = Field(
        timedelta(seconds=10), description="how long to wait for a locked SQLite file"
    )

    keep: Duration = Field(
        timedelta(days=400),
        description="age at which timelines, effects, seen keys and events of finished orders are removed; longer than any letter waits; 0 = never",
    )

    @field_validator("url")
    @classmethod
    def _is_of_a_known_database(cls, url: str) -> str:
        kind = url.partition(":")[0].partition("+")[0].lower()
        if kind not in ("sqlite", "postgresql"):
            raise ValueError(
                "expected sqlite+aiosqlite:///<file> or postgresql+asyncpg://user:password@host:5432/database,"
                f" got {'another kind of database: ' + shortened(repr(kind), 30) if '://' in url else 'no URL'}"
            )
        return url


class Http(Section):
    """Where this process answers /livez, /readyz and /metrics."""

    host: str = Field("0.0.0.0", description="address to listen on")  # noqa: S104  probes come from elsewhere
    port: int = Field(8080, ge=0, le=65535, description="0 = any free port")


class Metrics(Section):
    """Where this process answers /metrics, if not beside the probes."""

    listen: Listen | None = Field(
        None, description="host:port, such as 127.0.0.1:9464; absent: address and port of [http]"
    )

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port of ``listen``."""
        return None if self.listen is None else host_and_port(self.listen)


class Retry(Section):
    """The wait ladder."""

    waits: tuple[Duration, ...] = Field(
        tuple(timedelta(seconds=s) for s in (5, 25, 120, 600, 3120)),
        min_length=1,
        max_length=20,
        description="waits before the second and later attempts; five retries, factor about five",
    )
    unknown_order_wait: Duration = Field(
        timedelta(minutes=15),
        description="how long an event waits for an order that the feed has not shown yet, before it is a letter; 0 = not at all",
    )

    @field_validator("waits")
    @classmethod
    def _positive(cls, waits: tuple[timedelta, ...]) -> tuple[timedelta, ...]:
        for wait in waits:
            if not timedelta(milliseconds=10) <= wait <= timedelta(days=7):
                raise ValueError(f"expected waits from 10 ms to 7 days, got {wait}")
        return waits


class Outage(Section):
    """When an account or client is away, its work waits at no attempt until a probe is answered."""

    enabled: bool = Field(True, description="false: an outage longer than the waits ends in dead letters")
    failures: int = Field(
        3, ge=1, le=1000, description="calls in a row without an answer; at most the attempts of a message"
    )
    over: Duration = Field(
        timedelta(seconds=5), description="and so long a row of them; at most the waits together"
    )
    probe_after: Duration = Field(timedelta(seconds=2), description="first wait before a probe, then doubled")
    probe_at_most: Duration = Field(timedelta(seconds=15), description="longest wait before a probe")

    @field_validator("probe_after", "probe_at_most")
    @classmethod
    def _positive(cls, wait: timedelta) -> timedelta:
        if wait < timedelta(milliseconds=10):
            raise ValueError(f"expected at least 10 ms, got {wait}")
        return wait


class Log(Section):
    """How the hub speaks."""

    format: Literal["auto", "json", "console"] = Field("auto", description="auto = console in a terminal")
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least level that is shown"
    )


class Telemetry(Section):
    """Traces, by OpenTelemetry; none without an endpoint."""

    otlp_endpoint: str | None = Field(
        None,
        description="OTLP/HTTP collector, without /v1/traces; absent: OTEL_EXPORTER_OTLP_ENDPOINT, if that is set",
    )
    sample_ratio: float = Field(
        1.0,
        ge=0,
        le=1,
        description="share of traces that are kept, where no publisher has decided for its own",
    )

    @field_validator("otlp_endpoint")
    @classmethod
    def _is_http(cls, url: str | None) -> str | None:
        parts = parts_of(url or "http://none", "http://collector:4318")
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ValueError("expected an address such as http://collector:4318, without user and password")
        return url


class FeedLimits(Section):
    """What a feed document may cost; beyond it the poll fails and the cursor stays."""

    page_bytes: int = Field(4 * 2**20, ge=1024, description="bytes of one page after decompression")
    compressed_bytes: int = Field(4 * 2**20, ge=1024, description="bytes of one page on the wire")
    depth: int = Field(64, ge=8, le=250, description="nesting of XML elements")
    entries_per_page: int = Field(1000, ge=1, description="entries of one page")
    pages_per_walk: int = Field(10_000, ge=1, description="pages of one descent through the archive")


class Iqmetrix(Section):
    """One iQmetrix supplier account."""

    unique_key: ClassVar = "supplier_id"

    allow_http: bool = Field(False, description="allow plain http beyond loopback")
    base_url: str = Field(description="dropship service, with its version: https://dropship.iqmetrix.net/v1")
    token_url: str = Field(description="token endpoint: https://accounts.iqmetrix.net/v1/oauth2/token")
    supplier_id: int = Field(ge=1, description="SupplierId")
    username: str = Field(min_length=1, description="user of the password grant")
    password: SecretStr = Field(description="its password")
    client_id: str = Field(min_length=1, description="OAuth2 client id")
    client_secret: SecretStr = Field(description="OAuth2 client secret")
    poll_every: Duration = Field(timedelta(seconds=30), description="pause between polls, jittered by 20 %")
    start_from: Timestamp | None = Field(
        None, description="older entries are recorded as seen, not published; absent = from the beginning"
    )
    item_status_path: Literal["ItemStatusUpdate", "OrderStatusUpdate", "ItemUpdateStatus"] = Field(
        "ItemStatusUpdate", description="last segment of the item update path"
    )
    tracking_sites: dict[str, str] = Field(default_factory=dict, description="carrier -> site, fills Info")
    currency: str | None = Field(None, description="currency of the account's orders")
    echo_within: Annotated[Duration, Field(le=timedelta(days=7))] = Field(
        timedelta(hours=6),
        description="an accepted status update that the feed does not show for so long is late; 0 = the feed shows none",
    )
    timeout: Duration = Field(timedelta(seconds=30), description="how long one call may take")
    limits: FeedLimits = Field(default_factory=FeedLimits)

    _urls = field_validator("base_url", "token_url")(partner_url)

    @property
    def account(self) -> str:
        """The account part of this supplier's order ids."""
        return str(self.supplier_id)


class Retailops(Section):
    """One RetailOps vendor account."""

    unique_key: ClassVar = "vendor_id"

    allow_http: bool = Field(False, description="allow plain http beyond loopback")
    base_url: str = Field("https://api.retailops.com", description="API address")
    api_key: SecretStr = Field(description="sent as the header apikey")
    vendor_id: str = Field(min_length=1, description="vendor id of this account")
    poll_every: Duration = Field(timedelta(seconds=60), description="pause between polls, jittered by 20 %")
    fetch_status: str | tuple[str, ...] = Field("ready", description="status filter, passed through")
    page_size: int = Field(100, ge=1, le=1000, description="purchase orders per page")
    version_suffix: str = Field("", description='"~1" if wanted')
    accept_purchase_orders: bool = Field(False, description="MarkAccepted follows MarkSubmitted")
    already_done: tuple[str, ...] = Field(
        ("already submitted", "already accepted", "already complete", "status: complete"),
        description="error texts that mean the effect is there",
    )
    batch_size: int = Field(1000, ge=1, le=1000, description="purchase orders or stock counts of one call")
    batch_within: Duration = Field(
        timedelta(seconds=1), description="how long the first of a batch waits for others"
    )
    ship_classes: dict[str, str] = Field(default_factory=dict, description='"carrier service" -> class name')
    timeout: Duration = Field(timedelta(seconds=30), description="how long one call may take")

    _urls = field_validator("base_url")(partner_url)

    @property
    def account(self) -> str:
        """The account part of this vendor's order ids."""
        return self.vendor_id


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, dict) else value


class Settings(BaseSettings):
    """All settings of a process."""

    model_config = SettingsConfigDict(
        env_prefix="HUB_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    broker: Broker = Field(default_factory=Broker)
    state: State = Field(default_factory=State)
    http: Http = Field(default_factory=Http)
    metrics: Metrics = Field(default_factory=Metrics)
    retry: Retry = Field(default_factory=Retry)
    outage: Outage = Field(default_factory=Outage)
    log: Log = Field(default_factory=Log)
    telemetry: Telemetry = Field(default_factory=Telemetry)
    iqmetrix: Annotated[tuple[Iqmetrix, ...], BeforeValidator(_one_or_many)] = ()
    retailops: Annotated[tuple[Retailops, ...], BeforeValidator(_one_or_many)] = ()
    webhooks: Annotated[tuple[WebhookClient, ...], BeforeValidator(_one_or_many)] = ()

    @property
    def accounts(self) -> tuple[tuple[str, str], ...]:
        """Source and account of every partner account that orders come from."""
        return (
            *(("iqmetrix", section.account) for section in self.iqmetrix),
            *(("retailops", section.account) for section in self.retailops),
        )

    @model_validator(mode="after")
    def _names_are_unique(self) -> Settings:
        for table in type(self).model_fields:
            sections = getattr(self, table)
            if not isinstance(sections, tuple) or not sections:
                continue
            names = Counter(section.account for section in sections)
            twice = sorted(name for name, count in names.items() if count > 1)
            if twice:
                raise ValueError(
                    f"{table}: {sections[0].unique_key}: expected each once, got {shortened(', '.join(twice))} twice"
                )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the values that are passed in only; ``load`` puts file and environment together."""
        return (init_settings,)


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from the file and the environment.

    Args:
        path: the TOML file; absent: ``HUB_CONFIG``, else ``hub.toml`` where there is one.
        environ: the environment; absent: that of the process.

    Raises:
        ConfigError: with every fault in ``faults``.
    """
    environ = os.environ if environ is None else environ
    values = read(Settings, path, environ)
    faults = unknown_variables(Settings, environ)
    try:
        settings = Settings(**values)
    except ValidationError as error:
        found = faults_of(error, Settings, file=settings_file(environ, path), environ=environ)
        raise ConfigError(faults=(*faults, *found)) from None
    if faults:
        raise ConfigError(faults=faults)
    remember_secrets(settings)
    return settings


def load_given(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings as ``load`` does, for a command that makes no sense without any.

    Raises:
        ConfigError: there is neither a file nor a variable, or the settings have faults.
    """
    environ = os.environ if environ is None else environ
    if not are_given(Settings, environ, path):
        raise ConfigError(
            f"expected settings, got none: there is no hub.toml in {Path.cwd()}, HUB_CONFIG is not set, and no"
            " variable such as HUB_BROKER__URL is. Copy hub.example.toml to hub.toml and correct it, or name a file:"
            " hub --config FILE …"
        )
    return load(path, environ)
