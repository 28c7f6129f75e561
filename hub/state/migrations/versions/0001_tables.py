"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from hub.state.schema import Moment

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# In the order of creation; they go in the reverse.
TABLES = (
    "pollers",
    "seen_keys",
    "orders",
    "order_lines",
    "packages",
    "order_events",
    "effects",
    "told",
    "leases",
    "timeline",
)

INDEXES = (
    ("orders", "source_order_id"),
    ("orders", "order_number"),
    ("orders", "po_reference"),
    ("orders", "recorded_at"),
    ("order_lines", "sku"),
    ("packages", "tracking_number"),
    ("order_events", "order_id"),
    ("timeline", "order_id"),
)


def upgrade() -> None:
    op.create_table(
        "pollers",
        sa.Column("poller", sa.Text, nullable=False),
        sa.Column("cursor", sa.JSON, nullable=False),
        sa.Column("committed_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("poller", name="pk_pollers"),
    )
    op.create_table(
        "seen_keys",
        sa.Column("poller", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("seen_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("poller", "key", name="pk_seen_keys"),
    )
    op.create_table(
        "orders",
        sa.Column("order_id", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("source_order_id", sa.Text, nullable=False),
        sa.Column("created_by_event", sa.Text, nullable=False),
        sa.Column("order_number", sa.Text),
        sa.Column("po_reference", sa.Text),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("recorded_at", Moment, nullable=False),
        sa.Column("changed_at", Moment),
        sa.Column("details", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("order_id", name="pk_orders"),
    )
    op.create_table(
        "order_lines",
        sa.Column("order_id", sa.Text, nullable=False),
        sa.Column("position", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("line_id", sa.Text, nullable=False),
        sa.Column("sku", sa.Text, nullable=False),
        sa.Column("catalog_id", sa.Text),
        sa.Column("quantity", sa.BigInteger, nullable=False),
        sa.Column("unit_price_cents", sa.BigInteger),
        sa.Column("shipped", sa.BigInteger, nullable=False),
        sa.Column("cancelled", sa.BigInteger, nullable=False),
        sa.Column("hold", sa.Text),
        sa.Column("hold_message", sa.Text),
        sa.Column("status_at", Moment),
        sa.Column("accepted_at", Moment),
        sa.Column("reason", sa.Text),
        sa.Column("reason_at", Moment),
        sa.PrimaryKeyConstraint("order_id", "position", name="pk_order_lines"),
        sa.ForeignKeyConstraint(["order_id"], ["orders.order_id"], name="fk_order_lines_order_id_orders"),
    )
    op.create_table(
        "packages",
        sa.Column("order_id", sa.Text, nullable=False),
        sa.Column("package_id", sa.Text, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("carrier", sa.Text, nullable=False),
        sa.Column("service", sa.Text),
        sa.Column("tracking_number", sa.Text, nullable=False),
        sa.Column("weight_lb", sa.Float),
        sa.Column("shipping_cost_cents", sa.BigInteger),
        sa.Column("shipped_at", Moment, nullable=False),
        sa.Column("items", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("order_id", "package_id", name="pk_packages"),
        sa.ForeignKeyConstraint(["order_id"], ["orders.order_id"], name="fk_packages_order_id_orders"),
    )
    op.create_table(
        "order_events",
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("order_id", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("happened_at", Moment, nullable=False),
        sa.Column("applied_at", Moment, nullable=False),
        sa.Column("applied", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("event_id", name="pk_order_events"),
        sa.ForeignKeyConstraint(["order_id"], ["orders.order_id"], name="fk_order_events_order_id_orders"),
    )
    op.create_table(
        "effects",
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("holder", sa.Text),
        sa.Column("until", Moment),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_effects"),
    )
    op.create_table(
        "told",
        sa.Column("partner", sa.Text, nullable=False),
        sa.Column("order_id", sa.Text, nullable=False),
        sa.Column("view", sa.JSON, nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("partner", "order_id", name="pk_told"),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("until", Moment, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )
    op.create_table(
        "timeline",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False, autoincrement=True
        ),
        sa.Column("order_id", sa.Text, nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.Column("what", sa.Text, nullable=False),
        sa.Column("facts", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_timeline"),
    )
    for table, column in INDEXES:
        op.create_index(f"ix_{table}_{column}", table, [column])


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
