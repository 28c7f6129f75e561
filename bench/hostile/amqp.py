"""What a publisher may put beside a body: header tables as large as a frame, and what becomes of them on a copy."""

import struct
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from aiormq import spec
from aiormq.abc import DeliveredMessage
from pamqp.header import ContentHeader

from bench.hostile.case import Case
from hub.amqp.copies import headers
from hub.amqp.copies.signature import Signer
from hub.amqp.protocol import lenient_types
from hub.amqp.receiving.consumer import receive
from hub.amqp.receiving.delivery import Delivery
from hub.amqp.sending import properties
from hub.messaging.cloudevents import trace_context
from hub.messaging.message import Message
from hub.models.input.body_limits import LARGEST_BODY

# Bytes of the largest frame that brokers agree on by default.
_FRAME = 131_072
_QUEUE = "hub.iqmetrix.update_order_status"


def tables() -> Iterator[Case]:
    """Yield header tables, read from their frame, kept for a copy, and of a delivery as a whole."""
    for name, table in _tables():
        assert len(table) <= _FRAME, name
        yield Case("headers read", name, len(table), partial(lenient_types.table, table, 0))
        read, _ = lenient_types.table(table, 0)
        yield Case("headers of a copy", name, len(table), partial(_copied, read))
        for exchange in ("hub.fulfillment", "hub.requeue"):
            yield Case(f"delivery by {exchange}", name, len(table), _received(read, b"{}", exchange))
    signer = Signer(b"k" * 32)
    body = b"a" * LARGEST_BODY
    message = signer.signed(Message(body, headers=_kept(dict(_many("x-hub-")))), queue=_QUEUE)
    yield Case("signature", "the largest body", len(body), partial(signer.has_signed, message, queue=_QUEUE))
    yield Case(
        "delivery by hub.requeue",
        "the largest body",
        len(body),
        _received({headers.SIGNATURE: "v1="}, body, ""),
    )


def _kept(of: dict[str, Any]) -> dict[str, Any]:
    return {name: of[name] for name in list(of)[:1000]}


def _copied(read: dict[str, Any]) -> None:
    book = headers.read(read, exchange="hub.requeue", routing_key="")
    headers.dead(book, Message(b"{}", headers=read), queue=_QUEUE)


def _received(of: dict[str, Any], body: bytes, exchange: str) -> Callable[[], object]:
    sent = spec.Basic.Properties(headers=of)
    delivered = DeliveredMessage(
        delivery=spec.Basic.Deliver("t", 1, False, exchange, "order.accepted"),
        header=ContentHeader(0, len(body), sent),
        body=body,
        channel=None,  # type: ignore[arg-type]  # nothing is sent
    )
    delivery = Delivery(delivered, _QUEUE, acks=None)  # type: ignore[arg-type]  # nothing is settled
    signer = Signer(b"k" * 32)

    def work() -> None:
        message, book = receive(delivery, signer)
        trace_context(message)
        headers.dead(book, message, queue=_QUEUE)
        properties.properties(message)

    return work


def _table(fields: bytes) -> bytes:
    return struct.pack(">I", len(fields)) + fields


def _filled(unit: bytes, head: bytes = b"", tail: bytes = b"") -> bytes:
    room = _FRAME - len(head) - len(tail) - 100
    return head + unit * (room // len(unit)) + tail


def _many(prefix: str) -> Iterator[tuple[str, str]]:
    yield from ((f"{prefix}{number:x}", "") for number in range((_FRAME - 100) // (len(prefix) + 11)))


def _named(prefix: str, value: bytes, most: int) -> bytes:
    names = (f"{prefix}{number:x}".encode() for number in range(most))
    fields = b"".join(bytes([len(name)]) + name + value for name in names)
    return _table(fields[: _FRAME - 100])


def _in_array(unit: bytes) -> bytes:
    items = _filled(unit)
    return _table(b"\1aA" + struct.pack(">I", len(items)) + items)


def _tables() -> Iterator[tuple[str, bytes]]:
    empty_text, nothing = b"S\0\0\0\0", b"V"
    for prefix in ("", "ce-", "x-hub-", "X-Hub-", "x-death"):
        count = (_FRAME - 100) // (len(prefix) + 6)
        whole = [f"{prefix}{number:05x}".encode() for number in range(count)]
        fields, size = [], 0
        for name in whole:
            if size + len(name) + 2 > _FRAME - 100:
                break
            fields.append(bytes([len(name)]) + name + nothing)
            size += len(name) + 2
        yield f"names with {prefix or 'nothing'} before them", _table(b"".join(fields))
    yield "one name again and again", _table(_filled(b"\1aV"))
    yield "names of nothing", _table(_filled(b"\0V"))
    yield "an array of nothing", _in_array(b"V")
    yield "an array of bits", _in_array(b"t\1")
    yield "an array of numbers", _in_array(b"l" + b"\xff" * 8)
    yield "an array of doubles", _in_array(b"d\x7f\xef" + b"\xff" * 6)
    yield "an array of decimals", _in_array(b"D\xff\x7f\xff\xff\xff")
    yield "an array of moments", _in_array(b"T" + b"\0" * 7 + b"\1")
    yield "an array of texts", _in_array(empty_text)
    yield "an array of bytes", _in_array(b"x\0\0\0\0")
    yield "an array of arrays", _in_array(b"A\0\0\0\0")
    yield "an array of tables", _in_array(b"F\0\0\0\0")
    yield "an array of deep arrays", _in_array(_deep(28))
    yield "an array of deep tables", _in_array(_deep_table(28))
    yield "too deep", _table(b"\1a" + _deep(24_000))
    yield "a long text", _table(b"\1aS" + struct.pack(">I", 130_000) + b"a" * 130_000)
    yield "no UTF-8", _table(b"\1aS" + struct.pack(">I", 130_000) + b"\xff" * 130_000)
    yield "an unknown type at the end", _table(_filled(b"\1aV", tail=b"\1a?"))


def _deep(levels: int) -> bytes:
    return b"".join(b"A" + struct.pack(">I", 5 * (levels - level - 1)) for level in range(levels))


def _deep_table(levels: int) -> bytes:
    return b"F" + b"".join(
        struct.pack(">I", 7 * (levels - level - 1)) + (b"\1aF" if level < levels - 1 else b"")
        for level in range(levels)
    )
