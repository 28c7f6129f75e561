"""The release to come, for tests of an upgrade: a copy of this one with further migrations, for processes of its own."""

import asyncio
import shutil
import sys
from pathlib import Path

from hub.state.engine.migrate import head

NEXT = f"{int(head()) + 1:04}"
ADDS = """
    op.create_table("novelties", sa.Column("id", sa.Text, primary_key=True))
    op.add_column("effects", sa.Column("novelty", sa.Text))
    op.add_column("orders", sa.Column("novelty", sa.Text))
"""
_STEP = """import sqlalchemy as sa
from alembic import op

revision = "{number}"
down_revision = "{before}"
{more}

def upgrade() -> None:
{does}
"""
_PACKAGES = ("hub", "consumers", "producers")


def write_next_release(folder: Path, *, does: str = ADDS, works_from: str | None = None) -> Path:
    """Write the packages of the next release into a folder, which is the working directory of what is to run them."""
    for package in _PACKAGES:
        # With what is compiled already.
        shutil.copytree(Path(__file__).parents[1] / package, folder / package)
    more = "" if works_from is None else f'works_from = "{works_from}"\n'
    step = _STEP.format(number=NEXT, before=head(), does=does, more=more)
    (folder / f"hub/state/migrations/versions/{NEXT}_next.py").write_text(step)
    return folder


async def migrated_by(release: Path, url: str) -> None:
    """Open the store with the code of a release, and close it again."""
    opening = (
        "import asyncio, sys; from hub.state.store import open_store; asyncio.run(open_store(sys.argv[1]))"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", opening, url, cwd=release)
    assert await process.wait() == 0
