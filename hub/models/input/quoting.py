"""What of a stranger's words a log line, a reason, a table or a trace may show: ids, codes and paths of fields.

An allow-list of forms. What has another form is shown as the start of its SHA-256, so that equal values can still be
told to be equal, and a person can search for one that they know. ``hub.observability.redaction`` masks; this module decides.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection

LONGEST_ID = 255
# Letters, digits and separators; no blank, no @, nothing that a terminal or HTML reads as its own. Without a digit it is
# short, or capitals in groups as in SKUs, or a path in small letters as in the sources of events.
_ID = re.compile(
    r"(?=[^0-9]*[0-9])[A-Za-z0-9._:~/+#=-]+"
    r"|[A-Z]{1,8}|[a-z]{1,2}|[A-Z]+(?:[._/#-][A-Z]+)+|(?:/[a-z][a-z-]{0,30}){1,4}",
    re.ASCII,
)
# The usual one, which holds neither of what follows.
_USUAL_ID = re.compile(r"[a-z][a-z._:~/+#=-]*[0-9][a-z0-9._:~/+#=-]*", re.ASCII)
# "Jane" between separators: a name more often than a part of an id.
_NAME = re.compile(r"(?:^|[._:~/+#=-])[A-Z][a-z]{2,}(?=$|[._:~/+#=-])", re.ASCII)
# A telephone number with its separators; ids of digits alone cannot be told from one.
_PHONE = re.compile(r"\+?(?:[0-9]{1,3}[.-])?[0-9]{3}[.-][0-9]{3}[.-][0-9]{4}", re.ASCII)
# Numbers (1042), prefixed numbers (E1042, PO-17) and words with underscores (missing_field, PO_NOT_FOUND).
_CODE = re.compile(
    r"[0-9]{1,6}|[A-Z]{1,6}[-_]?[0-9]{1,6}|[a-z]+(?:_[a-z0-9]+){1,7}|[A-Z]+(?:_[A-Z0-9]+){1,7}", re.ASCII
)
# Names of elements: html, rss, order-deleted.
_ELEMENT = re.compile(r"html|rss|feed|entry|error|[a-z]+(?:-[a-z]+){1,5}", re.ASCII)
_CODE_WORDS = frozenset(
    {
        "invalid", "missing", "required", "duplicate", "unknown", "blank", "forbidden", "unauthorized", "conflict",
        "locked", "expired", "internal", "unavailable", "timeout", "null",
    }
)  # fmt: skip
_LONGEST_CODE = 60
_STEP = re.compile(r"[.\[\]]+")
_PUNCTUATION = re.compile(r"[^a-z0-9]")


def one_line(text: str) -> str:
    """Return a text with what no console or log should get (controls, line ends, text direction) as U+FFFD."""
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(character: str) -> str:
    return character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"


def digest(text: str) -> str:
    """Return the short name of a text that is not shown."""
    return f"sha256:{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:12]}"


def _is_shown(text: str) -> bool:
    return bool(_ID.fullmatch(text)) and not _NAME.search(text) and not _PHONE.fullmatch(text)


def shown_id(text: str) -> str:
    """Return an id as it is shown: itself where it has the form of one, else its digest.

    The form: at most 255 letters, digits and separators, with a digit (or short, or in capitals), without a word that may
    be a name.
    """
    if len(text) <= LONGEST_ID and (_USUAL_ID.fullmatch(text) or _is_shown(text)):
        return text
    return digest(text) if text else text


def shown_name(name: str) -> str:
    """Return the name of a stranger's element, quoted, where it looks like one of a document: ``order-deleted``."""
    return repr(name) if len(name) <= _LONGEST_CODE and _ELEMENT.fullmatch(name) else "one of another form"


def shown_code(code: str) -> str:
    """Return a partner's error code as it is shown: itself where it is one, else its digest; nothing for nothing."""
    code = code.strip()
    is_code = len(code) <= _LONGEST_CODE and (_CODE.fullmatch(code) or code in _CODE_WORDS)
    return code if is_code else digest(code) if code else ""


def shown_path(path: str, known: Collection[str]) -> str:
    """Return the path of a field that a stranger names, or nothing where it names a field that is not known.

    Args:
        path: such as ``$.shipment.items[0].sku``.
        known: names of fields; they are compared without case and punctuation.
    """
    plain = {_PUNCTUATION.sub("", name.lower()): name for name in known}
    steps = [step for step in _STEP.split(path[: 2 * LONGEST_ID]) if step and step != "$"]
    shown = [
        step if step.isascii() and step.isdigit() else plain.get(_PUNCTUATION.sub("", step.lower()), "")
        for step in steps
    ]
    return ".".join(shown) if all(shown) else ""
