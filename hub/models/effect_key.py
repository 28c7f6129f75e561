"""Keys of effects whose parts cannot run into each other: publishers choose ids, and put colons where they like."""

from __future__ import annotations


def escaped(part: str) -> str:
    """Return a part of a key without colons: ``%`` and ``:`` as in a URL, everything else as it is."""
    return part.replace("%", "%25").replace(":", "%3A")
