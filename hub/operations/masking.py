"""Personal data and secrets out of what an operator looks at: bodies of letters, headers, settings, addresses.

An allow-list: shown are values of known fields (``hub.operations.known_fields``) that have the form of one; the rest is
masked, and so is everything below a field about persons. What is neither JSON nor XML is not shown at all. Nothing
here calls itself, so that a document may be as deep as its sender likes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import orjson
from lxml import etree

from hub.models.input.body_limits import MOST_VALUES, has_too_many_values, has_too_much_markup
from hub.models.input.quoting import shown_id
from hub.observability.redaction import MASK as MASK
from hub.observability.redaction import is_personal
from hub.operations.known_fields import is_id, is_known

# What a key of a document looks like, known or not.
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,39}", re.ASCII)
# Words of a field that is no id: UPS Ground, PendingSupplier, 2024-05-14T16:02:09Z.
_WORDS = re.compile(r"[A-Za-z0-9 ._:/+#(),-]{0,60}", re.ASCII)
# Levels of a document that are set in from the left.
_DEEPEST = 40
# Values of a document that are shown, elements of XML likewise; and attributes of one element, of which each takes as
# long to read as there are others.
_MOST_SHOWN = MOST_VALUES
_MOST_ATTRIBUTES = 100
_CUT = f"\n… and more: the first {_MOST_SHOWN} values are shown, --unmask shows all as they came"
# Levels of a value beside a body, such as a header.
_DEEPEST_VALUE = 8


def masked(value: Any, *, name: str = "", below: bool = False, depth: int = 0) -> Any:
    """Return a copy of a value with everything masked that is no value of a known field.

    Args:
        value: JSON, or a table of headers.
        name: of the field that holds it.
        below: whether it stands below a field about persons.
        depth: how far down it stands; below eight levels all is masked.
    """
    if depth > _DEEPEST_VALUE:
        return MASK
    if isinstance(value, Mapping):
        return {
            shown_key(str(key)): masked(
                item, name=str(key), below=below or is_personal(str(key)), depth=depth + 1
            )
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [masked(item, name=name, below=below, depth=depth + 1) for item in value]
    return _shown(value, name, below=below)


def readable_body(body: bytes, *, unmask: bool = False) -> str:
    """Return a body pretty-printed, masked unless ``unmask``; what has no known form is only shown with ``unmask``.

    Of a body with too many values for a message only the first are shown; with ``unmask`` all of it, as it came.
    """
    if unmask and (has_too_many_values(body) or has_too_much_markup(body)):
        return body.decode("utf-8", "replace")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _readable_xml(body, unmask=unmask)
    if not isinstance(document, dict | list) and not unmask:
        return _hidden(body)
    return "".join(_rendered(document, unmask=unmask))


def masked_url(url: str) -> str:
    """Return an address without its password and without the values of its query; too much rather than too little."""
    without_password = re.sub(r"^([a-z0-9+.-]+://[^/@:]*):.*@", rf"\1:{MASK}@", url)
    address, mark, query = without_password.partition("?")
    return address + mark + re.sub(r"=[^&]*", f"={MASK}", query)


def masked_path(url: str) -> str:
    """Return scheme, host and port of an address, and that there is a path."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return (
        f"{parts.scheme}://{place}/{MASK}"
        if parts.path.strip("/") or parts.query
        else f"{parts.scheme}://{place}"
    )


def _shown(value: Any, name: str, *, below: bool) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if below or not is_known(name):
        return MASK
    if isinstance(value, str):
        return value if _is_plain(value, name) else MASK
    return value if isinstance(value, int | float) else MASK


def _is_plain(text: str, name: str) -> bool:
    return shown_id(text) == text or (not is_id(name) and _WORDS.fullmatch(text) is not None)


def shown_key(key: str) -> str:
    """Return the name of a field or header as it is shown; what looks like none may be anything."""
    return key if _KEY.fullmatch(key) else MASK


def _rendered(document: Any, *, unmask: bool) -> Iterator[str]:
    """Write JSON piece by piece: on the list of what is to do stand texts, and values with where they stand."""
    todo: list[str | tuple[Any, str, bool, int]] = [(document, "", False, 0)]
    shown_values = 0
    while todo:
        piece = todo.pop()
        if isinstance(piece, str):
            yield piece
            continue
        if shown_values == _MOST_SHOWN:
            yield _CUT
            return
        shown_values += 1
        value, name, below, depth = piece
        if not isinstance(value, dict | list) or not value:
            shown = value if unmask or isinstance(value, dict | list) else _shown(value, name, below=below)
            yield json.dumps(shown, ensure_ascii=False)
            continue
        start, end = "\n" + "  " * min(depth + 1, _DEEPEST), "\n" + "  " * min(depth, _DEEPEST)
        every = value.items() if isinstance(value, dict) else ((name, item) for item in value)
        # One more than can be shown: what is behind it is never reached.
        entries = list(islice(every, _MOST_SHOWN + 1))
        todo.append(f"{end}{'}' if isinstance(value, dict) else ']'}")
        for position in range(len(entries) - 1, -1, -1):
            key, item = entries[position]
            todo.append("," if position < len(entries) - 1 else "")
            todo.append((item, key, below or is_personal(key), depth + 1))
            label = f"{json.dumps(key if unmask else shown_key(key), ensure_ascii=False)}: "
            todo.append(start + (label if isinstance(value, dict) else ""))
        yield "{" if isinstance(value, dict) else "["


def _readable_xml(body: bytes, *, unmask: bool) -> str:
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, remove_blank_text=True, huge_tree=True
    )
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError):
        return body.decode("utf-8", "replace") if unmask else _hidden(body)
    if unmask:
        return etree.tostring(root, pretty_print=True, encoding="unicode").rstrip()
    return "".join(_rendered_xml(root)).strip()


def _rendered_xml(root: etree._Element) -> Iterator[str]:
    """Write elements by their local names, without comments and instructions, whose texts may be anything."""
    todo: list[str | tuple[etree._Element, bool, int]] = [(root, False, 0)]
    shown_elements = 0
    while todo:
        piece = todo.pop()
        if isinstance(piece, str):
            yield piece
            continue
        if shown_elements == _MOST_SHOWN:
            yield _CUT
            return
        shown_elements += 1
        element, below, depth = piece
        name = etree.QName(element).localname
        below = below or is_personal(name)
        tag, indent = shown_key(name), "\n" + "  " * min(depth, _DEEPEST)
        attributes = _attributes(element, below=below)
        children = list(islice(element.iterchildren("*"), _MOST_SHOWN + 1))
        own = (element.text or "").strip()
        text = "" if not own else str(_shown(own, name, below=below)) if not children else MASK
        tail = MASK if any((child.tail or "").strip() for child in element) else ""
        yield f"{indent}<{tag}{attributes}>{text}"
        todo.append(f"{tail}{indent if children else ''}</{tag}>")
        todo += [(child, below, depth + 1) for child in reversed(children)]


def _attributes(element: etree._Element, *, below: bool) -> str:
    if len(element.attrib) > _MOST_ATTRIBUTES:
        return f" {MASK}"
    named = ((etree.QName(key).localname, value) for key, value in element.attrib.items())
    return "".join(f' {shown_key(key)}="{_shown(str(value), key, below=below)}"' for key, value in named)


def _hidden(body: bytes) -> str:
    return f"({len(body)} bytes that are neither a JSON document nor XML; --unmask shows them)"
