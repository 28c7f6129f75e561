"""What an event said, as a hash beside what it did: the same id with other content is another event."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("order_events", sa.Column("content", sa.Text))
    op.add_column("effects", sa.Column("content", sa.Text))


def downgrade() -> None:
    op.drop_column("effects", "content")
    op.drop_column("order_events", "content")
