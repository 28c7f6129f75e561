"""Personal data and secrets out of what an operator looks at: bodies of letters, settings, addresses with passwords.

Masking goes by field name, in any spelling (``ship_to``, ``shipTo``, ``ship-to``), for JSON and XML alike; everything
below a masked field is masked. What is neither JSON nor XML is not shown at all.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlsplit

import orjson
from lxml import etree

from hub.redaction import MASK as MASK
from hub.redaction import is_personal


def masked(value: Any) -> Any:
    """Give a copy of a JSON value with the values of personal fields replaced."""
    if isinstance(value, dict):
        return {key: _blank(item) if is_personal(str(key)) else masked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [masked(item) for item in value]
    return value


def readable_body(body: bytes, *, unmask: bool = False) -> str:
    """Pretty-print a body, masked unless ``unmask``; what has no known form is only shown with ``unmask``."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _readable_xml(body, unmask=unmask)
    if not isinstance(document, dict | list) and not unmask:
        return _hidden(body)
    return json.dumps(document if unmask else masked(document), indent=2, ensure_ascii=False)


def masked_url(url: str) -> str:
    """Give an address without its password and without the values of its query; too much rather than too little."""
    without_password = re.sub(r"^([a-z0-9+.-]+://[^/@:]*):.*@", rf"\1:{MASK}@", url)
    address, mark, query = without_password.partition("?")
    return address + mark + re.sub(r"=[^&]*", f"={MASK}", query)


def masked_path(url: str) -> str:
    """Give scheme, host and port of an address, and that there is a path."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return (
        f"{parts.scheme}://{place}/{MASK}"
        if parts.path.strip("/") or parts.query
        else f"{parts.scheme}://{place}"
    )


def _blank(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _blank(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_blank(item) for item in value]
    return value if value is None else MASK


def _readable_xml(body: bytes, *, unmask: bool) -> str:
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        remove_blank_text=True,
        remove_comments=not unmask,
        remove_pis=not unmask,
    )
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError):
        return body.decode("utf-8", "replace") if unmask else _hidden(body)
    if not unmask:
        _mask_element(root, below=False)
    return etree.tostring(root, pretty_print=True, encoding="unicode").rstrip()


def _mask_element(element: etree._Element, *, below: bool) -> None:
    below = below or is_personal(etree.QName(element).localname)
    if below and element.text and element.text.strip():
        element.text = MASK
    for key in element.attrib:
        if below or is_personal(etree.QName(key).localname):
            element.attrib[key] = MASK
    for child in element:
        _mask_element(child, below=below)
        if below and child.tail and child.tail.strip():
            child.tail = MASK


def _hidden(body: bytes) -> str:
    return f"({len(body)} bytes that are neither a JSON document nor XML; --unmask shows them)"
