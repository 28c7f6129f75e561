"""How long hostile input keeps the event loop: for each way in, the worst input of the largest size that is taken.

    python -m bench.budget       ends with 1 when one takes longer than the budget, within a minute

Everything here runs on the event loop in one piece, so its processor time is the longest callback. The inputs are shared
with ``tests/attacks/test_budget.py``, which has a bound that a busy machine cannot miss.
"""

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import orjson

from bench.rows import verdict
from hub.cli.output.printing import print_table, say
from hub.errors import HubError
from hub.http.classify import text_said, validation_said
from hub.http.session import Response, Sent
from hub.messaging.cloudevents import CLOUDEVENTS_JSON, decode
from hub.messaging.message import Message
from hub.models.events import (
    CancelledLine,
    Event,
    LineQuantity,
    OrderCancelled,
    OrderCreated,
    OrderLine,
    OrderShipped,
    ShippedPackage,
)
from hub.models.input.body_limits import LARGEST_BODY, MOST_MARKUP, MOST_VALUES
from hub.models.order import Order
from hub.models.order_transitions import apply
from hub.observability import redaction
from hub.operations.masking import readable_body
from hub.partners.retailops.page import LARGE, MOST_RECORDS, is_large
from hub.partners.retailops.translate import read_purchase_order, to_letter
from hub.partners.retailops.wire import MOST_LINES, Answer
from producers.retailops.purchase_order_pages import records_by_identity

# No callback of the event loop takes longer than this, in milliseconds of processor time.
BUDGET_MS = 100.0
ROUNDS = 3
# Ways in that keep an operator waiting and no event loop.
COMMANDS = frozenset({"letter shown"})
_ORDER = b'"order_id":"iqmetrix:71204:7a0e"'
# Headers of a message fit one frame of the broker.
_HEADER_BYTES = 128_000


@dataclass(frozen=True, slots=True)
class Case:
    """One hostile input for one way into the hub."""

    entry: str
    name: str
    size: int
    work: Callable[[], object]

    def milliseconds(self) -> float:
        """Return the processor time of one run on this thread."""
        begun = time.thread_time()
        # A refusal is an answer like any other.
        with suppress(HubError):
            self.work()
        return (time.thread_time() - begun) * 1000

    def best(self) -> float:
        """Return the least time of some runs; infinity when it fails, as too deep a recursion does."""
        try:
            return min(self.milliseconds() for _ in range(ROUNDS))
        except Exception:
            return math.inf


def cases() -> Iterator[Case]:
    """Yield every case."""
    for ways_in in WAYS_IN.values():
        yield from ways_in()


def _filled(head: bytes, unit: bytes, tail: bytes, most: int = LARGEST_BODY) -> bytes:
    """Return a JSON list of as many units as there is room for."""
    return head + (unit * ((most - len(head) - len(tail)) // len(unit))).rstrip(b",") + tail


def _legal(head: bytes, unit: bytes, tail: bytes) -> bytes:
    """Return the same with no more values than a body may have."""
    marks = sum(unit.count(mark) for mark in b"{[,")
    return _filled(head, unit, tail, len(head) + len(tail) + len(unit) * ((MOST_VALUES - 10) // marks))


def _events() -> Iterator[tuple[str, str, bytes]]:
    """Yield name, type and data."""
    yield "empty lists", "inventory.counted", _filled(b'{"items":[', b"[],", b"]}")
    yield "numbers for items", "inventory.counted", _filled(b'{"items":[', b"0,", b"]}")
    yield "nested 1,000 deep", "order.accepted", b"{" + _ORDER + b',"x":' + b"[" * 1000 + b"]" * 1000 + b"}"
    yield "nested 1,000,000 deep", "order.accepted", b"{" + _ORDER + b',"x":' + b"[" * 1_000_000
    yield (
        "half-deep lists",
        "order.accepted",
        _legal(b"{" + _ORDER + b',"x":[', b"[" * 180 + b"]" * 180 + b",", b"]}"),
    )
    yield (
        "all counts there may be",
        "inventory.counted",
        _legal(b'{"items":[', b'{"sku":"N","quantity":1},', b"]}"),
    )
    yield (
        "all cancelled lines",
        "order.cancelled",
        _legal(b"{" + _ORDER + b',"lines":[', b'{"sku":"a"},', b"]}"),
    )
    yield (
        "all packages",
        "order.shipped",
        _legal(b"{" + _ORDER + b',"packages":[', b'{"carrier":"U","tracking_number":"1"},', b"]}"),
    )
    yield (
        "all items of a package",
        "order.shipped",
        _legal(
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
    yield "one key again and again", "order.accepted", _legal(b"{", _ORDER + b",", b"}")
    yield (
        "numbers of 4,300 digits",
        "inventory.counted",
        _legal(b'{"items":[],"x":[', b"9" * 4300 + b",", b"]}")[:LARGEST_BODY],
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


def _messages() -> Iterator[Case]:
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
            Message(data, content_type="application/json", headers=binary, routing_key=kind),
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


_NAMES = tuple(b'"n%x a"' % name for name in range(MOST_VALUES - 10))


def _bodies() -> Iterator[tuple[str, bytes]]:
    yield "empty lists", _filled(b"[", b"[],", b"]")
    yield "nested lists", _legal(b"[", b"[" * 900 + b"]" * 900 + b",", b"]")
    yield "all names there may be", b'{"name":[%b]}' % b",".join(_NAMES)
    yield "130,000 names", b'{"name":[%b]}' % b",".join(b'"n%x"' % name for name in range(130_000))
    yield "a long name", orjson.dumps({"name": "a b " * (LARGEST_BODY // 4 - 10)})
    yield "names of each length", orjson.dumps({"name": ["a" * length for length in range(2, 480)]})
    yield "names of words and dashes", orjson.dumps({"name": ["-a" + "b-a" * n for n in range(2, 480)]})
    for name, number in (("all attributes there may be", MOST_MARKUP - 10), ("90,000 attributes", 90_000)):
        yield name, b"<a %b/>" % b" ".join(b'a%d="b"' % attribute for attribute in range(number))
    yield "all elements there may be", b"<a>%b</a>" % (b"<name>bob</name>" * (MOST_MARKUP // 2 - 10))
    yield "more elements", b"<a>%b</a>" % (b"<b/>" * 500_000)
    yield "open elements", b"<a>" * (MOST_MARKUP - 10)
    yield "unknown entities", b"<a>%b</a>" % (b"&x;" * (MOST_MARKUP - 10))


def _texts() -> Iterator[tuple[str, str]]:
    yield "a sentence", "data.items.0: expected an order a, got n1f a"
    yield "64 kB of a", "a" * 65_536
    yield "dashes", "-ab" * 22_000
    yield "words", "a b " * 16_000
    yield "references", "&#97;" * 13_000
    yield "a long reference", "&#" + "9" * 65_000 + ";"
    yield "escapes", "\\ud800" * 11_000
    yield "half an address", "a." * 32_000 + "@"
    yield "dots", "a@" + "a." * 32_000
    yield "blanks", " " * 65_536
    yield "digits", "1" * 65_536


def _reasons() -> Iterator[Case]:
    sentence = "data.items.0: expected an order a, got n1f a-ab-ab"
    for name, body in _bodies():
        yield Case("reason of a letter", name, len(body), _reason(sentence, body))
    worst = orjson.dumps({"name": ["-a" + "b-a" * n for n in range(2, 480)]})
    for name, text in _texts():
        yield Case("reason of a letter", name, len(text), _reason(text, worst))


def _reason(text: str, body: bytes) -> Callable[[], object]:
    return partial(redaction.reason, text, body)


def _answers() -> Iterator[Case]:
    for name, body in _bodies():
        sent = Sent({"authorization": "Bearer abcdef"}, body)
        yield Case(
            "error text, sent", name, len(body), _quoted(Response(400, {}, b"-ab a b" * 9000, sent=sent))
        )
    worst = Sent({}, orjson.dumps({"name": ["-a" + "b-a" * n for n in range(2, 480)]}))
    for name, text in _texts():
        for wrapped in (text.encode(), json.dumps({"error": text}).encode(), f"<p {text}".encode()):
            response = Response(400, {}, wrapped, sent=worst)
            yield Case("error text, answered", name, len(wrapped), _quoted(response))
    tags = Response(400, {}, b"<a>" * 22_000, sent=worst)
    yield Case("error text, answered", "tags", len(tags.body), _quoted(tags))
    for name, body in (
        ("empty lists", _filled(b'{"errors":[', b"[],", b"]}")),
        ("fewer empty lists", _filled(b'{"errors":[', b"[],", b"]}", 65_536)),
        ("faults", _filled(b'{"errors":[', b'{"field":"a","code":"b"},', b"]}", 65_536)),
    ):
        response = Response(422, {}, body, sent=worst)
        yield Case(
            "validation failure, answered",
            name,
            len(body),
            partial(validation_said({"ship_to.name"}), response),
        )


def _quoted(response: Response) -> Callable[[], object]:
    return partial(text_said, response)


# What a partner's order may have before its event is larger than a message may be.
_LINES = 5000


def _orders() -> Iterator[Case]:
    key, now = "iqmetrix:71204:7a0e", datetime.now(UTC)
    ids = range(_LINES)
    order = Order.new(
        OrderCreated(
            order_id=key,
            source="iqmetrix",
            source_account="71204",
            source_order_id="7a0e",
            source_event_id="e",
            created_at=now,
            lines=tuple(OrderLine(line_id=f"{each}", sku=f"s{each}", quantity=5) for each in ids),
        )
    )
    each_line = tuple(LineQuantity(line_id=f"{each}", quantity=1) for each in ids)
    each_sku = tuple(CancelledLine(sku=f"s{each}", quantity=1) for each in ids)
    whole = ShippedPackage(carrier="UPS", tracking_number="1Z")
    for name, kind, data in (
        (
            "each line of it",
            "order.shipped",
            OrderShipped(order_id=key, packages=(whole.model_copy(update={"items": each_line}),)),
        ),
        ("all of it", "order.shipped", OrderShipped(order_id=key, packages=(whole,))),
        ("each sku of it", "order.cancelled", OrderCancelled(order_id=key, lines=each_sku)),
        ("all of it", "order.cancelled", OrderCancelled(order_id=key)),
    ):
        event = Event("e-1", kind, "/oms", key, now, data)
        yield Case(f"{kind} applied", f"{name}, {_LINES} lines", _LINES, partial(apply, order, event))


def _letters() -> Iterator[Case]:
    for name, body in _bodies():
        yield Case("letter shown", name, len(body), partial(readable_body, body))


def _pages() -> Iterator[Case]:
    """Yield what of a RetailOps answer is read on the event loop: a small one whole, of a large one what follows."""
    po = b'{"po":"D%d","date_submit":0,"items":[{"po_item_id":1,"vpc":"A","quantity":"1.0"}]},'
    deep = b"[" * 100 + b"]" * 100 + b","
    for name, body in (
        ("purchase orders", _filled(b'{"records":[', po % 1, b"1]}", LARGE)),
        ("empty lists", b'{"records":[' + b"[]," * 7_900 + b"1]}"),
        ("deep lists", b'{"records":[' + deep * 79 + b"1]}"),
        ("damaged records", _filled(b'{"records":[', b"NaN,", b"1]}", LARGE)),
        ("escapes", b'{"records":["\xff' + b'\\"' * (LARGE // 2 - 20) + b'"]}'),
        ("open brackets", b'{"records":' + b"[" * 7_900),
        ("a long number", b'{"records":[' + b"9" * (LARGE - 20) + b"]}"),
        ("half a text", b'{"records":["' + b"a" * (LARGE - 20)),
    ):
        assert not is_large(body)
        yield Case("retailops answer", name, len(body), partial(Answer.read, body))
    line = b'{"po_item_id":%d,"vpc":"A","quantity":"1.0"}'
    lines = b",".join(line % each for each in range(MOST_LINES))
    many = b",".join(line % each for each in range(30_000))
    for name, body in (
        ("all records there may be", b"".join(po % each for each in range(MOST_RECORDS))),
        ("one PO again and again", (po % 1) * MOST_RECORDS),
        ("all lines of a PO", b'{"po":"D1","items":[%b]},' % lines),
        ("more lines", b'{"po":"D1","items":[%b]},' % many),
        ("no records at all", b"0.5," * MOST_RECORDS),
    ):
        document = orjson.loads(b"[%b]" % body[:-1])
        yield Case("retailops page", name, len(body), partial(records_by_identity, document))
        yield Case("retailops record", name, len(body), partial(_purchase_order, document[0]))


def _purchase_order(record: object) -> None:
    try:
        read_purchase_order(record)
    except HubError as error:
        to_letter(record, "27", str(error))


WAYS_IN: Mapping[str, Callable[[], Iterator[Case]]] = {
    "messages": _messages,
    "reasons": _reasons,
    "answers": _answers,
    "orders": _orders,
    "letters": _letters,
    "pages": _pages,
}
"""Groups of cases, each with inputs of its own that are made when they are asked for."""


def main() -> int:
    """Measure each case, and say the worst of each way in."""
    redaction.remember(*(f"a-secret-of-some-length-{number}" for number in range(40)))
    worst = [(case.best(), case) for case in cases()]
    worst.sort(key=lambda row: (row[1].entry, -row[0]))
    say(f"the longest callback of hostile input, best of {ROUNDS}; budget {BUDGET_MS:g} ms")
    rows = [
        (
            case.entry,
            case.name,
            f"{case.size}",
            f"{took:.1f}",
            verdict(took <= BUDGET_MS) if case.entry not in COMMANDS else "-",
        )
        for took, case in worst
    ]
    print_table(("way in", "input", "bytes", "ms", "verdict"), rows)
    return int(any(row[-1] == verdict(False) for row in rows))


if __name__ == "__main__":
    sys.exit(main())
