"""The tables of the state store, as SQLAlchemy Core metadata.

What is searched or changed by its parts is a column; what is only handed back whole (an order as it was announced,
what an event did) is JSON. ``hub/state/migrations`` creates the same tables; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)
from sqlalchemy.types import TypeDecorator


def _text(value: datetime | None) -> str | None:
    if value is None:
        return None
    if value.tzinfo is None:
        raise ValueError(f"expected a datetime with a zone, got {value!r}")
    if value.tzinfo is not UTC:
        value = value.astimezone(UTC)
    return _utc_text(value)


# The rows of a group are of few moments. In UTC, since elsewhere an hour in autumn is equal to the next one.
@lru_cache(maxsize=64)
def _utc_text(moment: datetime) -> str:
    return moment.replace(tzinfo=None).isoformat(" ", "microseconds")


class Moment(TypeDecorator[datetime]):
    """An aware moment, stored in UTC: a timestamp with zone on PostgreSQL, a zoneless UTC text on SQLite.

    Binding a naive datetime raises ``ValueError``: nobody could tell what it means.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn an aware moment into what the driver stores."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"expected a datetime with a zone, got {value!r}")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], Any] | None:
        """Return what SQLAlchemy calls for each value; on SQLite the text itself, in a quarter of the time."""
        return _text if dialect.name == "sqlite" else super().bind_processor(dialect)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn what the driver gives into an aware moment in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# Fixed names for every constraint, so that a later migration can name what it drops on either database.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

pollers = Table(
    "pollers",
    metadata,
    Column("poller", Text, primary_key=True),
    Column("cursor", JSON, nullable=False),
    Column("committed_at", Moment, nullable=False),
)

seen_keys = Table(
    "seen_keys",
    metadata,
    Column("poller", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("seen_at", Moment, nullable=False),
)

orders = Table(
    "orders",
    metadata,
    Column("order_id", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("source_order_id", Text, nullable=False, index=True),
    Column("created_by_event", Text, nullable=False),
    Column("order_number", Text, index=True),
    Column("po_reference", Text, index=True),
    Column("created_at", Moment, nullable=False),
    Column("recorded_at", Moment, nullable=False, index=True),
    Column("changed_at", Moment),
    Column("details", JSON, nullable=False),
)

order_lines = Table(
    "order_lines",
    metadata,
    Column("order_id", Text, ForeignKey("orders.order_id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("line_id", Text, nullable=False),
    Column("sku", Text, nullable=False, index=True),
    Column("catalog_id", Text),
    Column("quantity", BigInteger, nullable=False),
    Column("unit_price_cents", BigInteger),
    Column("shipped", BigInteger, nullable=False),
    Column("cancelled", BigInteger, nullable=False),
    Column("hold", Text),
    Column("hold_message", Text),
    Column("status_at", Moment),
    Column("accepted_at", Moment),
    Column("reason", Text),
    Column("reason_at", Moment),
)

packages = Table(
    "packages",
    metadata,
    Column("order_id", Text, ForeignKey("orders.order_id"), primary_key=True),
    Column("package_id", Text, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("carrier", Text, nullable=False),
    Column("service", Text),
    Column("tracking_number", Text, nullable=False, index=True),
    Column("weight_lb", Float),
    Column("shipping_cost_cents", BigInteger),
    Column("shipped_at", Moment, nullable=False),
    Column("items", JSON, nullable=False),
)

order_events = Table(
    "order_events",
    metadata,
    # The event id alone is the key: one id must never be applied to two orders, or mean two things. What the hub itself
    # announces is kept apart (``hub.state.event_identity.recorded_ids``).
    Column("event_id", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("order_id", Text, ForeignKey("orders.order_id"), nullable=False, index=True),
    Column("type", Text, nullable=False),
    Column("happened_at", Moment, nullable=False),
    Column("applied_at", Moment, nullable=False),
    Column("applied", JSON, nullable=False),
    Column("content", Text),
)

effects = Table(
    "effects",
    metadata,
    Column("key", Text, primary_key=True),
    Column("state", Text, nullable=False),  # "claimed", "travelling" or "done"
    Column("holder", Text),
    Column("until", Moment),
    Column("note", Text, nullable=False),
    Column("at", Moment, nullable=False),
    # Since when a stored copy carries the effect on, whether the copy has claimed it just now or not.
    Column("travels_since", Moment),
    # A hash of what the event said, where no row of ``order_events`` tells it.
    Column("content", Text),
)

told = Table(
    "told",
    metadata,
    Column("partner", Text, primary_key=True),
    Column("order_id", Text, primary_key=True),
    Column("view", JSON, nullable=False),
    Column("at", Moment, nullable=False),
    # When the report was recorded; NULL once the partner's feed has shown it, or if no feed is to show it.
    Column("echo_awaited_since", Moment),
)
# Holds the reports that wait alone, which are few however many orders there are.
Index(
    None,
    told.c.partner,
    told.c.echo_awaited_since,
    told.c.order_id,
    sqlite_where=told.c.echo_awaited_since.is_not(None),
    postgresql_where=told.c.echo_awaited_since.is_not(None),
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("until", Moment, nullable=False),
)

# What an installation keeps of itself: its signing key, and since when it signs.
installation = Table(
    "installation",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

holders = Table(
    "holders",
    metadata,
    Column("holder", Text, primary_key=True),
    # Since when the process has renewed its presence without a break.
    Column("since", Moment, nullable=False),
    Column("until", Moment, nullable=False),
)

timeline = Table(
    "timeline",
    metadata,
    # Only "integer primary key" counts by itself on SQLite; on PostgreSQL the table outlives 2**31 entries.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("order_id", Text, nullable=False, index=True),
    Column("at", Moment, nullable=False),
    Column("what", Text, nullable=False),
    Column("facts", JSON, nullable=False),
)

# Letters that the broker takes in no form; whole, so that a person can send them on.
refused_messages = Table(
    "refused_messages",
    metadata,
    Column("id", Text, primary_key=True),
    Column("queue", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("refusal", Text, nullable=False),
    Column("at", Moment, nullable=False),
    Column("properties", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

# Messages that were delivered again, while they are in the hands of a process.
suspects = Table(
    "suspects",
    metadata,
    Column("queue", Text, primary_key=True),
    Column("message", Text, primary_key=True),
    # The process that has it in hand; NULL while it waits for its turn.
    Column("holder", Text),
    # How many processes have ended with it in hand.
    Column("crashes", Integer, nullable=False),
    Column("at", Moment, nullable=False),
)
