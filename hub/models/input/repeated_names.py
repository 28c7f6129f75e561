"""JSON objects with two members of one name (RFC 8259, section 4): every quick reader keeps the last and says nothing.

``may_repeat`` is quick and errs on one side alone: of what it says no of, nothing was dropped. ``first_repeated`` reads
the text once more and names the member. Called by the event codec and by the reader of purchase orders.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import orjson
from pydantic import BaseModel

# A colon that is written as an escape; in other escapes there is none.
_ESCAPED_COLON = b"\\u003"
ANY_NAME = "{}"
"""Behind a name: every name is read in the object that it holds."""


def may_repeat(body: bytes, document: object) -> bool:
    """Whether `document`, as the quick reader read `body`, may lack members of it.

    A member that was dropped took its colon along; colons in texts come back as they were.
    """
    if _ESCAPED_COLON in body:
        return True
    try:
        return orjson.dumps(document).count(b":") != body.count(b":")
    except TypeError:
        # Nested deeper than it writes, or a number that is kept by its digits.
        return True


class _Repeating(dict[str, Any]):
    """An object with names that it has more than once, and those of them whose values differ."""

    repeated: frozenset[str]
    differing: frozenset[str]


def _repeating(members: list[tuple[str, Any]]) -> _Repeating:
    found = _Repeating()
    repeated, differing = set(), set()
    for name, member in members:
        if name in found:
            repeated.add(name)
            if found[name] != member:
                differing.add(name)
        found[name] = member
    found.repeated, found.differing = frozenset(repeated), frozenset(differing)
    return found


def first_repeated(text: str, names: frozenset[str], *, differing: bool = False) -> str | None:
    """Return the path of a member that comes twice, as ``items.0.sku``; None if none of these names does.

    Only members of these names are looked at and into (see ``names_read``). With ``differing`` those of equal values are passed over.

    Raises:
        ValueError: it is no JSON.
        RecursionError: it is nested deeper than about 900.
    """
    repeating = False

    def read(members: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal repeating
        found = dict(members)
        if len(found) == len(members):
            return found
        repeating = True
        return _repeating(members)

    document = json.loads(text, object_pairs_hook=read)
    waiting = [("", "", document)] if isinstance(document, dict | list) else []
    while repeating and waiting:
        path, parent, node = waiting.pop()
        known = node.keys() if isinstance(node, dict) and parent + ANY_NAME in names else names
        if isinstance(node, _Repeating):
            twice = sorted(known & (node.differing if differing else node.repeated))
            if twice:
                return f"{path}{_shown(twice[0], names)}"
        if isinstance(node, dict):
            inner = [(_shown(name, names), name, node[name]) for name in node.keys() & known]
        else:
            inner = [(str(position), parent, item) for position, item in enumerate(node)]
        waiting += [
            (f"{path}{step}.", name, member)
            for step, name, member in inner
            if isinstance(member, dict | list)
        ]
    return None


def _shown(name: str, names: frozenset[str]) -> str:
    """Return a name that is known; any other may be anything."""
    return name if name in names else "…"


@lru_cache
def names_read(model: type[BaseModel]) -> frozenset[str]:
    """Return the names of all members that a model reads, and those inside of them; of a mapping with ``ANY_NAME``."""
    names: set[str] = set()
    seen: set[type[BaseModel]] = set()
    waiting = [model]
    while waiting:
        read = waiting.pop()
        # A model may hold itself.
        if read not in seen:
            seen.add(read)
            for name, field in read.model_fields.items():
                names.add(field.alias or name)
                parts = list(_parts(field.annotation))
                waiting += [part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)]
                if any(typing.get_origin(part) is Mapping for part in parts):
                    names.add(f"{field.alias or name}{ANY_NAME}")
    return frozenset(names)


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in typing.get_args(annotation):
        yield from _parts(part)
