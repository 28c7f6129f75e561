"""Letters that the broker takes in no form, as SQL operations (see ``RefusedStore``)."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, func, select

from hub.state.engine.upsert import insert_into
from hub.state.protocols import RefusedMessage
from hub.state.schema import refused_messages


def keep_refused(connection: Connection, message: RefusedMessage) -> None:
    """Insert a letter, unless it is there."""
    row = {
        "id": message.id,
        "queue": message.queue,
        # PostgreSQL keeps no text with this character.
        "reason": message.reason.replace("\0", ""),
        "refusal": message.refusal.replace("\0", ""),
        "at": message.at,
        "properties": message.properties,
        "body": message.body,
    }
    insert = insert_into(refused_messages, connection.dialect.name)
    connection.execute(insert.on_conflict_do_nothing(), row)


def refused(connection: Connection) -> Sequence[RefusedMessage]:
    """Return all letters, oldest first."""
    rows = connection.execute(select(refused_messages).order_by(refused_messages.c.at))
    return [
        RefusedMessage(row.id, row.queue, row.reason, row.refusal, row.at, row.properties, bytes(row.body))
        for row in rows
    ]


def count_refused(connection: Connection) -> int:
    """Return how many letters there are."""
    return connection.scalar(select(func.count()).select_from(refused_messages)) or 0
