"""How much a message body may hold: bytes, and values. The limits of the broker, the codec and redaction are these.

Bytes alone bound no work: two megabytes have room for a million empty lists, which keep the event loop for a second.
Values are counted by the marks before them, at the speed of memory and before anything is parsed.
"""

from __future__ import annotations

# Also the broker's ``max_message_size``: a larger body is refused where it is published.
LARGEST_BODY = 2**21
# JSON: objects, lists, and commas between values: ten thousand stock counts, or as many packages as nobody sends.
MOST_VALUES = 32_000
# XML: tags, attributes and entities.
MOST_MARKUP = 32_000
# A body that is smaller cannot hold so many, and is not counted.
_SURELY_FINE = MOST_VALUES


def json_values(body: bytes) -> int:
    """Return at least how many values a JSON body has; marks inside texts count too."""
    return body.count(b"{") + body.count(b"[") + body.count(b",")


def has_too_many_values(body: bytes) -> bool:
    """Whether parsing this JSON body could keep the event loop for too long."""
    return len(body) > _SURELY_FINE and json_values(body) > MOST_VALUES


def has_too_much_markup(body: bytes) -> bool:
    """Whether parsing this XML body could keep the event loop for too long."""
    return len(body) > _SURELY_FINE and body.count(b"<") + body.count(b"=") + body.count(b"&") > MOST_MARKUP
