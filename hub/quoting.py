"""What of a stranger's words a log line, a reason, a table or a trace may show: ids, types, codes and field paths.

An allow-list of forms. What has another form is shown as the start of its SHA-256, so that equal values can still be
told to be equal, and a person can search for one that they know. ``hub.redaction`` masks; this module decides.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection

from hub.models.events import EVENT_TYPES

LONGEST_ID = 255
# Letters, digits and separators; no blank, no @, nothing that a terminal or HTML reads as its own.
_ID = re.compile(r"(?=[^0-9]*[0-9])[A-Za-z0-9._:~/+#=-]+", re.ASCII)
# "Jane" between separators: a name more often than a part of an id.
_NAME = re.compile(r"(?:^|[._:~/+#=-])[A-Z][a-z]{2,}(?=$|[._:~/+#=-])", re.ASCII)
# A telephone number with its separators; ids of digits alone cannot be told from one.
_PHONE = re.compile(r"\+?(?:[0-9]{1,3}[.-])?[0-9]{3}[.-][0-9]{3}[.-][0-9]{4}", re.ASCII)
# Numbers (1042), prefixed numbers (E1042, PO-17) and words with underscores (missing_field, PO_NOT_FOUND).
_CODE = re.compile(
    r"[0-9]{1,6}|[A-Z]{1,6}[-_]?[0-9]{1,6}|[a-z]+(?:_[a-z0-9]+){1,7}|[A-Z]+(?:_[A-Z0-9]+){1,7}", re.ASCII
)
_CODE_WORDS = frozenset(
    {
        "invalid", "missing", "required", "duplicate", "unknown", "blank", "forbidden", "unauthorized", "conflict",
        "locked", "expired", "internal", "unavailable", "timeout", "null",
    }
)  # fmt: skip
_LONGEST_CODE = 60
# Types of the hub's own messages that are no events.
_STORED_TYPES = frozenset(
    {
        "webhook.confirmation", "webhook.cancellation", "webhook.partial_cancellation", "webhook.disposition",
        "iqmetrix.entry", "retailops.po",
    }
)  # fmt: skip
_SOURCES = ("iqmetrix", "retailops")
_STEP = re.compile(r"[.\[\]]+")
_PUNCTUATION = re.compile(r"[^a-z0-9]")


def digest(text: str) -> str:
    """Return the short name of a text that is not shown."""
    return f"sha256:{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:12]}"


def shown_id(text: str) -> str:
    """Return an id as it is shown: itself where it has the form of one, else its digest.

    The form: at most 255 letters, digits and separators, with at least one digit, without a word that may be a name.
    """
    if (
        len(text) <= LONGEST_ID
        and _ID.fullmatch(text)
        and not _NAME.search(text)
        and not _PHONE.fullmatch(text)
    ):
        return text
    return digest(text) if text else text


def shown_type(text: str) -> str:
    """Return a message type or routing key as it is shown: itself where it is the hub's, else its digest."""
    if text in EVENT_TYPES or text in _STORED_TYPES or not text:
        return text
    name, _, source = text.rpartition(".")
    return text if name in EVENT_TYPES and source in _SOURCES else digest(text)


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
