"""What every contender does with an event, which is what the hub does with it: validate it, make the webhook's body.

The settings are environment variables: ``BENCH_BROKER``, ``BENCH_QUEUE``, ``BENCH_RECEIVER`` (an address),
``BENCH_PREFETCH`` and ``BENCH_CONNECTIONS``.
"""

import os
from typing import Any

import orjson

from hub.models.fulfillment_events import UnitDispositionChanged

BROKER, QUEUE = os.environ["BENCH_BROKER"], os.environ["BENCH_QUEUE"]
RECEIVER = os.environ["BENCH_RECEIVER"]
PREFETCH, CONNECTIONS = int(os.environ["BENCH_PREFETCH"]), int(os.environ["BENCH_CONNECTIONS"])
HEADERS = {"Content-Type": "application/json"}


def body_of(unit: UnitDispositionChanged) -> bytes:
    """Give the bytes to post about one unit."""
    values: dict[str, Any] = unit.model_dump(exclude_none=True, exclude={"clients"})
    assert unit.timestamp is not None
    return orjson.dumps(values | {"timestamp": unit.timestamp.strftime("%Y-%m-%dT%H:%M:%S")})


def validated(document: Any) -> UnitDispositionChanged:
    """Validate the data of a CloudEvent."""
    return UnitDispositionChanged.model_validate(document["data"])
