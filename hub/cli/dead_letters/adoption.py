"""``hub letters replay --adopt``: what bears no signature of this hub is shown, and signed if a person says that it is ours.

Copies that a release without signatures wrote, or that were signed with the key of a lost state store, are such letters.
So is what an attacker wrote: the signature makes a stored request out of a message, which is then posted as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from hub.amqp.copies.signature import Signer
from hub.amqp.dead_letters import dead_letter_queue
from hub.amqp.dead_letters.dead_letter import Letter
from hub.amqp.sending.client_session import client_session
from hub.cli.dead_letters.selection import Choice, chosen
from hub.cli.output.asking import confirmed
from hub.cli.output.printing import print_table
from hub.cli.output.tables import Column
from hub.config.settings import Settings
from hub.messaging.message import EFFECT

_COLUMNS = (
    Column("queue"), Column("id", "id"), Column("type", "line"), Column("order id", "id"), Column("effect", "id"), Column("body"),
)  # fmt: skip


async def unsigned(settings: Settings, choice: Choice, signer: Signer) -> list[Letter]:
    """Return the chosen letters that the hub has not signed; they stay where they are."""
    found: list[Letter] = []
    async with client_session(settings.broker, name="hub letters") as open_session:
        for name in choice.queues:
            async with chosen(open_session, name, choice) as every:
                found += [letter async for letter in every if not dead_letter_queue.is_signed(letter, signer)]
    return found


def confirmed_adoption(found: Sequence[Letter], *, yes: bool) -> bool:
    """Show the letters, and return whether they may be signed; without a person at the terminal only ``yes`` says so."""
    if not found:
        return True
    rows = [
        (
            letter.queue,
            letter.id,
            letter.type,
            letter.order_id,
            letter.arrived.headers.get(EFFECT),
            dead_letter_queue.digest(letter.message.body),
        )
        for letter in found
    ]
    print_table(_COLUMNS, rows, title="without a signature of this hub")
    return confirmed("Sign them as the hub's own?", yes=yes)
