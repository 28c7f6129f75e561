"""The signature of the hub's own copies: HMAC-SHA256 with the installation's key, in the header ``x-hub-signature``.

A copy comes back through ``hub.requeue``, where what a broker dead-lettered or a shovel moved comes by as well. The signature
says that the hub wrote all of it: body, properties that decide what is done with it, and every ``x-hub-`` header, for this
queue. What brokers and shovels add (``x-death``, ``x-shovelled``) is no part of it.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any

from hub.amqp.copies.headers import PREFIX, SIGNATURE
from hub.amqp.sending import properties
from hub.messaging.cloudevents import BINARY_PREFIXES
from hub.messaging.message import Message

# Says how the parts below are put together; another way gets another number.
_VERSION = "v1"


class Signer:
    """Signs copies and checks their signatures.

    Args:
        key: the secret of the installation.
    """

    def __init__(self, key: bytes) -> None:
        self._keyed = hmac.new(key, b"dropship-hub copy v1", sha256)

    def signed(self, message: Message, *, queue: str) -> Message:
        """Return the message with the signature of a copy for the work queue ``queue``."""
        return replace(message, headers={**message.headers, SIGNATURE: self._signature(message, queue)})

    def has_signed(self, message: Message, *, queue: str) -> bool:
        """Whether the hub wrote this message, as it is, for the work queue ``queue``."""
        claimed = message.headers.get(SIGNATURE)
        return isinstance(claimed, str) and hmac.compare_digest(
            claimed.encode("utf-8", "replace"), self._signature(message, queue).encode()
        )

    def _signature(self, message: Message, queue: str) -> str:
        mac = self._keyed.copy()
        for part in _parts(message, queue):
            # With its length before it, so that no two messages give the same bytes.
            mac.update(len(part).to_bytes(8, "big"))
            mac.update(part)
        return f"{_VERSION}={mac.hexdigest()}"


def _parts(message: Message, queue: str) -> Iterator[bytes]:
    yield queue.encode()
    for value in properties.signed_properties(message):
        yield _typed(value)
    headers = _signed_headers(message.headers)
    yield str(len(headers)).encode()
    for name in sorted(headers):
        yield name.encode("utf-8", "surrogatepass")
        yield _typed(headers[name])
    yield message.body


def _signed_headers(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hub's headers, and those that hold the attributes of a binary CloudEvent."""
    return {
        name: value
        for name, value in headers.items()
        if name != SIGNATURE and (name.lower().startswith(PREFIX) or name.startswith(BINARY_PREFIXES))
    }


def _typed(value: object) -> bytes:
    match value:
        case None:
            return b"-"
        case str():
            return b"t" + value.encode("utf-8", "surrogatepass")
        case bytes():
            # What is no UTF-8 comes back as bytes, the rest as text.
            return b"t" + value
        case int():
            return b"i" + str(int(value)).encode()
        case _:
            # No header of the hub, and no attribute that means anything.
            return b"?"
