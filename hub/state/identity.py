"""Whether an event is the one that was applied under its id before, or another one with the same id.

CloudEvents tell events apart by source and id. The hub keeps applied events by their id, so two services that both
number their messages from 1 meet here: the second event is refused with what was seen before, and never taken for
done. A message without a source (plain JSON) says nothing about who sent it, so there type and order have to do.

It does not look anything up; the stores do, and call it from ``apply``.
"""

from __future__ import annotations

from dataclasses import dataclass

from hub.errors import InvalidMessage
from hub.models.events import DEFAULT_SOURCE, AnyEvent
from hub.quoting import shown_id


@dataclass(frozen=True, slots=True)
class AppliedBefore:
    """What is recorded about an event that was applied."""

    order_id: str
    type: str
    source: str


def refuse_another(event: AnyEvent, before: AppliedBefore) -> None:
    """Return if ``event`` is the recorded one, told again.

    Raises:
        InvalidMessage: it is another event with the same id; says what was seen before.
    """
    sources = {event.source, before.source}
    if (
        event.order_id == before.order_id
        and event.type == before.type
        and (len(sources) == 1 or DEFAULT_SOURCE in sources)
    ):
        return
    raise InvalidMessage(
        f"expected an id of its own, {shown_id(event.id)!r} was applied to order {shown_id(before.order_id)!r} before, as {before.type} "
        f"from {shown_id(before.source)!r}, and now is {event.type} from {shown_id(event.source)!r}; give every event an id of its own",
        field="id",
    )
