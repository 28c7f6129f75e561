"""The wording of dead-letter queues that are work lists: what a letter asks a person to do.

Called by the RetailOps consumers that reject what RetailOps has no call for (EIP Dead Letter Channel).
"""

from __future__ import annotations

from collections.abc import Sequence


def listed(entries: Sequence[str], *, longest: int, what: str) -> str:
    """List as many entries as fit, the first in any case; the letter's body and ``hub orders show`` tell the rest.

    Args:
        entries: at least one, if anything is to be said.
        longest: characters of the list, since a reason is a header of at most 500.
        what: the entries are, in the plural.
    """
    shown = [
        entry for end, entry in enumerate(entries, 1) if end == 1 or len(", ".join(entries[:end])) <= longest
    ]
    more = len(entries) - len(shown)
    return ", ".join(shown) + (f" and {more} more {what}, see hub orders show" if more else "")
