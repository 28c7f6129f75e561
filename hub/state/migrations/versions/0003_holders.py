"""Which processes are there: who renews its presence, since when, and until when it counts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from hub.state.schema import Moment

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "holders",
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("since", Moment, nullable=False),
        sa.Column("until", Moment, nullable=False),
        sa.PrimaryKeyConstraint("holder", name="pk_holders"),
    )


def downgrade() -> None:
    op.drop_table("holders")
