"""The settings of the broker: its addresses, with passwords, and how the hub speaks to it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from ssl import SSLContext
from typing import Annotated

from pydantic import (
    BeforeValidator,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SecretStr,
    field_validator,
    model_validator,
)

from hub.config.tls import tls_context
from hub.config.types import (
    AMQP_EXAMPLE,
    Duration,
    Section,
    broker_hosts,
    joined,
    parts_of,
    remember_secrets,
    secret_of,
)

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
    repair: bool = Field(
        True,
        description="declare and bind again what is deleted while the hub runs; false: say so in log, /readyz and doctor",
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

    _url_file: Path | None = PrivateAttr(None)

    @model_validator(mode="wrap")
    @classmethod
    def _keeps_the_file(cls, values: object, handler: ModelWrapValidatorHandler[Broker]) -> Broker:
        broker = handler(values)
        if isinstance(values, dict) and values.get("url_file") is not None:
            broker._url_file = Path(str(values["url_file"]))
        return broker

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
        """Return what a connection by amqps:// is made with; raises ``ValueError`` with the key of a file that is wrong."""
        return tls_context(self.ca_file, self.cert_file, self.key_file)

    def as_it_is_now(self) -> Broker:
        """Return the settings with the addresses that ``url_file`` holds now: a password in it may have been rotated.

        Raises:
            ValueError: the file cannot be read, or holds no address.
        """
        if self._url_file is None:
            return self
        url = SecretStr(secret_of("url_file", self._url_file))
        if url == self.url:
            return self
        remember_secrets(url)
        try:
            return self.model_copy(update={"url": self._is_amqp(url)})
        except ValueError as fault:
            raise ValueError(f"url_file: {fault}") from None

    @property
    def hosts(self) -> tuple[str, ...]:
        """The addresses of ``url``, with their passwords; empty without one."""
        return broker_hosts(self.url.get_secret_value()) if self.url is not None else ()
