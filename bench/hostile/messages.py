"""What a publisher may send: bodies of events in each encoding, and the reasons of their letters."""

from collections.abc import Callable, Iterator
from functools import partial

import orjson

from bench.hostile.bodies import bodies, texts
from bench.hostile.case import Case, filled, legal
from hub.errors import HubError
from hub.messaging.cloudevents import CLOUDEVENTS_JSON, decode
from hub.messaging.message import Message
from hub.models.input.body_limits import LARGEST_BODY, MOST_VALUES
from hub.observability import redaction

_ORDER = b'"order_id":"iqmetrix:71204:7a0e"'
# Headers of a message fit one frame of the broker.
_HEADER_BYTES = 128_000
_AS_BINARY = frozenset({"all packages", "a long text as moment", "no JSON"})


def _events() -> Iterator[tuple[str, str, bytes]]:
    """Yield name, type and data."""
    yield "empty lists", "inventory.counted", filled(b'{"items":[', b"[],", b"]}")
    yield "numbers for items", "inventory.counted", filled(b'{"items":[', b"0,", b"]}")
    yield "nested 1,000 deep", "order.accepted", b"{" + _ORDER + b',"x":' + b"[" * 1000 + b"]" * 1000 + b"}"
    yield "nested 1,000,000 deep", "order.accepted", b"{" + _ORDER + b',"x":' + b"[" * 1_000_000
    yield (
        "half-deep lists",
        "order.accepted",
        legal(b"{" + _ORDER + b',"x":[', b"[" * 180 + b"]" * 180 + b",", b"]}"),
    )
    yield (
        "all counts there may be",
        "inventory.counted",
        legal(b'{"items":[', b'{"sku":"N","quantity":1},', b"]}"),
    )
    yield (
        "all cancelled lines",
        "order.cancelled",
        legal(b"{" + _ORDER + b',"lines":[', b'{"sku":"a"},', b"]}"),
    )
    yield (
        "all packages",
        "order.shipped",
        legal(b"{" + _ORDER + b',"packages":[', b'{"carrier":"U","tracking_number":"1"},', b"]}"),
    )
    yield (
        "all items of a package",
        "order.shipped",
        legal(
            b"{" + _ORDER + b',"packages":[{"carrier":"U","tracking_number":"1","items":[',
            b'{"line_id":"1","quantity":1},',
            b"]}]}",
        ),
    )
    yield (
        "a key each",
        "order.accepted",
        b"{%b,%b}"
        % (
            _ORDER,
            b",".join(b'"name%x":0' % key for key in range(MOST_VALUES - 10)),
        ),
    )
    yield "one key again and again", "order.accepted", legal(b"{", _ORDER + b",", b"}")
    yield (
        "numbers of 4,300 digits",
        "inventory.counted",
        legal(b'{"items":[],"x":[', b"9" * 4300 + b",", b"]}")[:LARGEST_BODY],
    )
    for name, value in (
        ("a long number", b"9" * (LARGEST_BODY - 300)),
        ("a long number as text", b'"%b"' % (b"9" * (LARGEST_BODY - 300))),
        ("a long fraction", b"1.%b" % (b"9" * (LARGEST_BODY - 300))),
    ):
        yield name, "inventory.counted", b'{"items":[{"sku":"N","quantity":%b}]}' % value
    for name, text in (
        ("a long text", b"a" * (LARGEST_BODY - 300)),
        ("blanks", b" " * (LARGEST_BODY - 300)),
        ("escapes", b"\\ud83d\\ude00" * ((LARGEST_BODY - 300) // 12)),
    ):
        yield name, "order.cancelled", b'{%b,"reason":"%b"}' % (_ORDER, text)
        yield f"{name} as moment", "order.shipped", b'{%b,"shipped_at":"%b"}' % (_ORDER, text)
        yield f"{name} as id", "order.accepted", b'{"order_id":"%b"}' % text
    yield "no JSON", "order.accepted", b"a" * LARGEST_BODY
    yield (
        "130,000 names",
        "order.accepted",
        b'{"name":[%b]}' % b",".join(b'"n%x"' % name for name in range(130_000)),
    )


def messages() -> Iterator[Case]:
    for name, kind, data in _events():
        structured = b'{"specversion":"1.0","id":"1","type":"%b","source":"/o","data":%b}' % (
            kind.encode(),
            data,
        )
        binary = {
            "ce-specversion": "1.0",
            "ce-id": "1",
            "ce-type": kind,
            "ce-source": "/o",
        }
        for message in (
            Message(data, content_type="application/json", routing_key=kind),
            Message(structured, content_type=CLOUDEVENTS_JSON, routing_key=kind),
            # Its data are read as those of a plain one.
            *(
                [Message(data, content_type="application/json", headers=binary, routing_key=kind)]
                if name in _AS_BINARY
                else []
            ),
        ):
            encoding = (
                "structured" if message.body is structured else "binary" if message.headers else "plain"
            )
            yield Case(f"decode, {encoding}", name, len(message.body), _decoded(message))
    many = {f"ce-{number:x}": "x" for number in range(_HEADER_BYTES // 12)}
    yield Case("decode, binary", "many headers", _HEADER_BYTES, _decoded(Message(b"{}", headers=many)))


def _decoded(message: Message) -> Callable[[], object]:
    """Return decoding together with what follows a refusal: its reason for the letter."""

    def work() -> None:
        try:
            decode(message)
        except HubError as error:
            redaction.reason(str(error), message.body)

    return work


def reasons() -> Iterator[Case]:
    sentence = "data.items.0: expected an order a, got n1f a-ab-ab"
    for name, body in bodies():
        yield Case("reason of a letter", name, len(body), _reason(sentence, body))
    worst = orjson.dumps({"name": ["-a" + "b-a" * n for n in range(2, 480)]})
    for name, text in texts():
        yield Case("reason of a letter", name, len(text), _reason(text, worst))


def _reason(text: str, body: bytes) -> Callable[[], object]:
    return partial(redaction.reason, text, body)
