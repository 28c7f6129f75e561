"""What a replay would send: where to, how many, which types, and one body as an example."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hub.amqp.dead_letters import dead_letter_queue
from hub.amqp.dead_letters.dead_letter import Letter
from hub.cli.dead_letters.selection import names_of
from hub.cli.output.printing import counted, print_json, say
from hub.models.events import shown_type
from hub.models.input.quoting import shown_id
from hub.operations.masking import readable_body


@dataclass(slots=True)
class Destination:
    """Letters that would go one way; ``example`` is the first of them."""

    queue: str
    exchange: str
    routing_key: str
    example: Letter
    types: Counter[str] = field(default_factory=Counter)


class Preview:
    """The letters that a replay would send, by their way."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self._ways: dict[tuple[str, str, str], Destination] = {}

    def add(self, letter: Letter) -> None:
        """Count a letter in."""
        exchange, routing_key = dead_letter_queue.destination(letter)
        way = (letter.queue, exchange, routing_key)
        found = self._ways.setdefault(way, Destination(*way, example=letter))
        found.types[letter.type] += 1
        self.ids.update(names_of(letter))

    @property
    def destinations(self) -> tuple[Destination, ...]:
        """Each way, in the order of the queues."""
        return tuple(self._ways.values())

    @property
    def count(self) -> int:
        """How many letters would be sent."""
        return sum(way.types.total() for way in self._ways.values())


def tell_preview(preview: Preview, *, as_json: bool) -> None:
    """Print the preview; personal data in the examples is masked."""
    if as_json:
        print_json([_as_object(way) for way in preview.destinations])
        return
    for way in preview.destinations:
        say(f"{counted(way.types.total(), 'letter')} from {way.queue} to {way.exchange} as {way.routing_key}")
        for name, count in way.types.most_common():
            say(f"  {count:>6}  {shown_type(name)}")
        say(f"  example {shown_id(way.example.id)}:")
        for line in readable_body(way.example.message.body).splitlines():
            say(f"    {line}")
    say(f"{counted(preview.count, 'letter')} would be replayed; nothing was sent")


def _as_object(way: Destination) -> dict[str, Any]:
    return {
        "queue": way.queue,
        "exchange": way.exchange,
        "routing_key": way.routing_key,
        "letters": way.types.total(),
        "types": {shown_type(name): count for name, count in way.types.items()},
        "example": {"id": shown_id(way.example.id), "body": readable_body(way.example.message.body)},
    }
