"""Effects that a stored copy carries on: since when."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from hub.state.schema import Moment

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("effects", sa.Column("travels_since", Moment))


def downgrade() -> None:
    # An older hub knows no such rows and would never end a claim on one; without a row the copy is sent as before.
    op.execute("DELETE FROM effects WHERE state = 'travelling'")
    op.drop_column("effects", "travels_since")
