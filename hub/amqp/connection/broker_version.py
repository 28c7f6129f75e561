"""Which broker answers, by what it says of itself when a connection opens, and whether the hub can run on it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aio_pika.abc import AbstractConnection

from hub.errors import ConfigError

# Quorum queues with message TTL and at-least-once dead-lettering, which the wait ladder stands on, came with 3.10.
OLDEST = (3, 10)


def greeting(connection: AbstractConnection) -> Mapping[str, Any]:
    """Return what the broker said of itself on this connection; empty when it is closed."""
    underlay = connection.transport
    properties = getattr(underlay.connection, "server_properties", None) if underlay is not None else None
    return properties if isinstance(properties, Mapping) else {}


def name_and_version(properties: Mapping[str, Any]) -> str:
    """Name the broker in two words, such as ``RabbitMQ 4.3.5``."""
    return f"{_text(properties, 'product')} {_text(properties, 'version')}"


def refuse_too_old(properties: Mapping[str, Any]) -> None:
    """Return unless this is a RabbitMQ that is too old; of a version that cannot be read the declarations will tell.

    Raises:
        ConfigError: too old; says which version was expected and which answers.
    """
    found = re.match(r"(\d+)\.(\d+)", _text(properties, "version"))
    if _text(properties, "product") != "RabbitMQ" or found is None:
        return
    if (int(found[1]), int(found[2])) < OLDEST:
        raise ConfigError(
            f"expected RabbitMQ {OLDEST[0]}.{OLDEST[1]} or later, got {name_and_version(properties)}: its quorum queues"
            " have no message TTL, so nothing could wait for a retry; upgrade the broker, or set [broker] url to"
            " another one"
        )


def _text(properties: Mapping[str, Any], key: str) -> str:
    value = properties.get(key, "unknown")
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)[:80]
