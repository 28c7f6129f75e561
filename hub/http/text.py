"""The text of an answer as UTF-8: byte order marks and other encodings end here.

JSON is UTF-8 (RFC 8259, 8.1), and servers send it with a byte order mark, as UTF-16, or in the encoding that
``Content-Type`` names. Called by whoever reads an answer as JSON.
"""

from __future__ import annotations

import codecs
import re

from hub.http.session import Response

BOM = codecs.BOM_UTF8
# The longer mark first: that of UTF-32-LE begins with that of UTF-16-LE.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CHARSET = re.compile(r"charset\s*=\s*\"?([A-Za-z0-9_-]{1,30})", re.IGNORECASE)
# Of Python's codecs those that are character sets; some of the others take long.
_KNOWN = re.compile(r"utf-?(?:16|32)(?:-?[bl]e)?|(?:iso-?8859-?|windows-?|cp)\d{1,4}|latin-?1", re.IGNORECASE)


def utf8_of(response: Response) -> bytes:
    """Return the body in UTF-8 without a byte order mark; as it came where nothing says how to read it."""
    body = response.body
    for mark, encoding in _MARKS:
        if body.startswith(mark):
            rest = body[len(mark) :]
            return rest if encoding == "utf-8" else _decoded(rest, encoding)
    if b"\0" in body[:2]:
        return _decoded(body, "utf-16-be" if body[:1] == b"\0" else "utf-16-le")
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        found = _CHARSET.search(response.headers.get("Content-Type", "")[:200])
        return _decoded(body, found[1]) if found and _KNOWN.fullmatch(found[1]) else body
    return body


def is_markup(body: bytes) -> bool:
    """Whether a text is HTML or XML: the page of a proxy, or of somebody who mends things."""
    return body[:200].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def shape_of(response: Response) -> str:
    """Say what an answer looks like that is not what was expected, without a word of it."""
    body = utf8_of(response).strip()
    if is_markup(body):
        return "HTML or XML: a proxy or an error page"
    if response.truncated:
        return f"more than {len(response.body)} bytes"
    if not body:
        return "an empty body"
    return "a JSON value of another kind" if body[:1] in b'["0123456789-tfn' else "text that is not JSON"


def _decoded(body: bytes, encoding: str) -> bytes:
    try:
        return body.decode(encoding).encode()
    except (LookupError, UnicodeError):
        return body
