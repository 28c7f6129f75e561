"""Which records of a pass are one purchase order, and what is made of several.

A PO that a page holds in two records is one PO with the lines of both, where they agree in all else; where they do not,
nobody knows which is right, and both are set aside together. Called by ``retailops_purchase_orders`` for each page.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from hub.partners.retailops.page import Kept, Unreadable, render
from hub.partners.retailops.translate import po_of

# Records that one PO is put together from.
_MOST_PARTS = 20


def records_by_identity(records: Iterable[object]) -> Mapping[str, object]:
    """Return the records of one page by PO; those without one by all of their bytes."""
    found: dict[str, list[object]] = {}
    for record in records:
        found.setdefault(_identity(record), []).append(record)
    return {identity: _one_of(several) for identity, several in found.items()}


def later_of(earlier: object, later: object) -> object:
    """Return what is known of a PO that two pages of a pass hold: the newer reading, or both parts of one that was split."""
    return _merged(earlier, later) or later


def _identity(record: object) -> str:
    po = po_of(record)
    return f"po {po}" if po is not None else f"raw {hashlib.sha256(render(record)).hexdigest()}"


def _one_of(records: list[object]) -> object:
    one = records[0]
    if len(records) > _MOST_PARTS:
        return _disputed(records, f"in at most {_MOST_PARTS} records of a page, got {len(records)}")
    for record in records[1:]:
        if record == one:
            continue
        merged = _merged(one, record)
        if merged is None:
            return _disputed(records, f"in one record of a page, got {len(records)} that differ")
        one = merged
    return one


def _disputed(records: list[object], expected: str) -> Unreadable:
    return Unreadable(b"[" + b",".join(map(render, records)) + b"]", f"po: expected each PO {expected}")


def _merged(first: object, second: object) -> dict[str, Any] | None:
    """Return one record with the lines of both, None if they share a line or differ in anything else."""
    if not isinstance(first, dict) or not isinstance(second, dict) or isinstance(first, Kept):
        return None
    of_first, of_second = _line_ids(first.get("items")), _line_ids(second.get("items"))
    if of_first is None or of_second is None or of_first & of_second:
        return None
    if {**first, "items": None} != {**second, "items": None}:
        return None
    return {**first, "items": [*first["items"], *second["items"]]}


def _line_ids(lines: object) -> frozenset[str] | None:
    """Return the ids of lines, None unless each has one of its own."""
    if not isinstance(lines, list) or not lines:
        return None
    ids = [line.get("po_item_id") for line in lines if isinstance(line, dict)]
    known = frozenset(str(one) for one in ids if isinstance(one, str | int | float))
    return known if len(known) == len(lines) else None
