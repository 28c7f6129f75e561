"""Valid documents to begin with, made of the examples that the hub ships: none is kept as a file."""

from pathlib import Path
from typing import Any

import orjson
from pamqp import encode

from hub.contract.examples import EXAMPLES, Example
from hub.messaging import cloudevents
from hub.models.events import EVENT_TYPES
from tests.partners.iqmetrix.samples import a_page, an_entry, an_item, created, status_updated

_PART = b"\n--\n"
_TOML = (Path(__file__).parents[2] / "hub.example.toml").read_bytes()
_VARIABLES = (
    b"HUB_BROKER__URL=amqp://u:p@h/\nHUB_WEBHOOKS__1__TIMEOUT=3s\nHUB_IQMETRIX__PASSWORD=x",
    b'HUB_RETRY__WAITS=["1s", 2]\nHUB_WEBHOOKS=[{"name":"a"}]\nOTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318',
    b'HUB_STATE__URL_FILE=nowhere\nHUB_LOG__LEVEL=debug\nHUB_HTTP={"port": 0}',
)


def pages() -> list[bytes]:
    """Pages of the feed: none, one and several entries, of both kinds, and one entry that is wrong."""
    return [
        a_page(),
        a_page([an_entry("one")]),
        a_page([an_entry("two", created(items=an_item() * 3)), an_entry("one", status_updated())], prev="p"),
        a_page([an_entry("bad", created(items=an_item(price="x"))), an_entry("other", "<other/>")]),
        a_page([an_entry("one")]).replace(b"utf-8", b"utf-16", 1).decode().encode("utf-16"),
    ]


def messages() -> list[bytes]:
    """Each example in each of the three encodings."""
    return [document for example in EXAMPLES for document in _encodings(example)]


def settings() -> list[bytes]:
    """The example of all settings, its tables one by one, and variables."""
    tables = _TOML.split(b"\n\n")
    return [_TOML, *tables, *(_PART + lines for lines in _VARIABLES), tables[-1] + _PART + _VARIABLES[0]]


def _encodings(example: Example) -> list[bytes]:
    message = cloudevents.encode(example.event())
    assert message.content_type is not None
    data = orjson.dumps(example.data)
    attributes = {"specversion": "1.0", "id": "e-1", "type": example.type, "source": "/oms"}
    binary = {f"ce-{name}": value for name, value in attributes.items()} | {"ce-time": "2024-05-15T14:20:05Z"}
    odd: dict[str, Any] = binary | {
        "x-death": [{"count": 1}],
        "traceparent": "00-1-1-01",
        "n": 2**40,
        "f": 1.5,
        "none": None,
    }
    key = f"routing_key={EVENT_TYPES[example.type].name}".encode()
    return [
        _PART.join((b"content_type=" + message.content_type.encode() + b"\n" + key, b"", message.body)),
        _PART.join((b"content_type=application/json\n" + key, encode.field_table(odd)[4:], data)),
        _PART.join((key, b"", data)),
    ]
