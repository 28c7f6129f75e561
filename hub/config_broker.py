"""The settings of the broker: its addresses, with passwords, and how the hub speaks to it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from ssl import SSLContext
from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator

from hub.config_tls import tls_context
from hub.config_values import AMQP_EXAMPLE, Duration, Section, broker_hosts, joined, parts_of

_MANAGEMENT_EXAMPLE = "https://operator:password@rabbitmq:15671"


class Broker(Section):
    """RabbitMQ. Without ``url`` a private broker is started for ``hub up``."""

    url: Annotated[SecretStr | None, BeforeValidator(joined)] = Field(
        None, description="amqp:// or amqps:// address of the broker; of a cluster: a list of them"
    )
    management_url: SecretStr | None = Field(
        None,
        description="http:// or https:// address of the management API, with a user that has the tag policymaker;"
        " only policies are read there",
    )
    prefetch: int = Field(100, ge=1, le=10_000, description="unacknowledged deliveries per work queue")
    heartbeat: int = Field(15, ge=1, le=600, description="seconds between AMQP heartbeats")
    publish_timeout: Duration = Field(timedelta(seconds=10), description="how long a confirm may take")
    reconnect_after: Duration = Field(
        timedelta(seconds=0.5), description="first wait before connecting again"
    )
    reconnect_at_most: Duration = Field(
        timedelta(seconds=15), description="longest wait before connecting again"
    )
    drain: Duration = Field(timedelta(seconds=20), description="how long a stop waits for work in flight")
    ca_file: Path | None = Field(
        None, description="certificate authority for amqps://, in PEM form; absent: those of the system"
    )
    cert_file: Path | None = Field(None, description="client certificate for amqps://")
    key_file: Path | None = Field(
        None, description="key of the client certificate, without a passphrase; absent: it is in cert_file"
    )

    @field_validator("url")
    @classmethod
    def _is_amqp(cls, url: SecretStr | None) -> SecretStr | None:
        for host in broker_hosts(url.get_secret_value()) if url is not None else ():
            parts = parts_of(host, AMQP_EXAMPLE)
            if parts.scheme not in ("amqp", "amqps") or not parts.hostname:
                raise ValueError(f"expected an address such as {AMQP_EXAMPLE}")
        return url

    @field_validator("management_url")
    @classmethod
    def _is_http(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            parts = parts_of(url.get_secret_value(), _MANAGEMENT_EXAMPLE)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError(f"expected an address such as {_MANAGEMENT_EXAMPLE}")
        return url

    @model_validator(mode="after")
    def _has_what_tls_needs(self) -> Broker:
        if any(host.lower().startswith("amqps:") for host in self.hosts):
            self.tls()
        return self

    def tls(self) -> SSLContext:
        """Give what a connection by amqps:// is made with; raises ``ValueError`` with the key of a file that is wrong."""
        return tls_context(self.ca_file, self.cert_file, self.key_file)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The addresses of ``url``, with their passwords; empty without one."""
        return broker_hosts(self.url.get_secret_value()) if self.url is not None else ()
