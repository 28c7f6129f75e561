"""What of a RetailOps answer is read on the event loop."""

from collections.abc import Iterator
from functools import partial

import orjson

from bench.hostile.case import Case, filled
from hub.errors import HubError
from hub.partners.retailops.page import LARGE, MOST_RECORDS, is_large
from hub.partners.retailops.translate import read_purchase_order, to_letter
from hub.partners.retailops.wire import MOST_LINES, Answer
from producers.retailops.purchase_order_pages import records_by_identity


def pages() -> Iterator[Case]:
    """Yield what of a RetailOps answer is read on the event loop: a small one whole, of a large one what follows."""
    po = b'{"po":"D%d","date_submit":0,"items":[{"po_item_id":1,"vpc":"A","quantity":"1.0"}]},'
    deep = b"[" * 100 + b"]" * 100 + b","
    for name, body in (
        ("purchase orders", filled(b'{"records":[', po % 1, b"1]}", LARGE)),
        ("empty lists", b'{"records":[' + b"[]," * 7_900 + b"1]}"),
        ("deep lists", b'{"records":[' + deep * 79 + b"1]}"),
        ("damaged records", filled(b'{"records":[', b"NaN,", b"1]}", LARGE)),
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
