"""Letters that the broker refuses; and messages that were in the hands of a process when it crashed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from hub.state.schema import Moment

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "refused_messages",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("refusal", sa.Text, nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.Column("properties", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_refused_messages"),
    )
    op.create_table(
        "suspects",
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("holder", sa.Text),
        sa.Column("crashes", sa.Integer, nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("queue", "message", name="pk_suspects"),
    )


def downgrade() -> None:
    op.drop_table("suspects")
    op.drop_table("refused_messages")
