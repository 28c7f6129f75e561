"""Since when a recorded report to a partner waits for the partner's feed to show it; older reports wait for nothing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from hub.state.schema import Moment

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_INDEX = "ix_told_partner_echo_awaited_since_order_id"


def upgrade() -> None:
    op.add_column("told", sa.Column("echo_awaited_since", Moment))
    awaited = sa.text("echo_awaited_since IS NOT NULL")
    op.create_index(
        _INDEX,
        "told",
        ["partner", "echo_awaited_since", "order_id"],
        sqlite_where=awaited,
        postgresql_where=awaited,
    )


def downgrade() -> None:
    op.drop_index(_INDEX, "told")
    op.drop_column("told", "echo_awaited_since")
