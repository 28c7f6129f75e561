"""Backup and restore of the state store by the commands of docs/deployment.md, on a real PostgreSQL."""

import re
import subprocess
from pathlib import Path
from typing import Any

from hub.state.store import open_store

PAGE = (Path(__file__).parents[2] / "docs" / "deployment.md").read_text(encoding="utf-8")


def command(program: str) -> str:
    """The page's command, without the container in which it is run."""
    (found,) = re.findall(rf"^.*docker compose exec -T postgres {program} .+$", PAGE, re.MULTILINE)
    return str(found).replace("docker compose exec -T postgres ", "")


def modes(folder: Path) -> list[int]:
    return [file.stat().st_mode & 0o777 for file in folder.iterdir()]


async def test_what_was_backed_up_is_there_again_after_the_restore_and_can_be_worked_on(
    postgres: Any, tmp_path: Path
) -> None:
    def run(program: str) -> None:
        subprocess.run(
            ["sh", "-ec", command(program)],
            env=postgres.environ,
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )

    before = await open_store(postgres.url)
    await before.tell("test", "backup", {"told": "before"})
    await before.close()
    run("pg_dump")
    assert modes(tmp_path) == [0o600]
    later = await open_store(postgres.url)
    await later.tell("test", "backup", {"told": "after"})
    await later.tell("test", "more", {"told": "after"})
    await later.close()

    run("pg_restore")

    restored = await open_store(postgres.url)
    assert await restored.told("test", "backup") == {"told": "before"}
    assert await restored.told("test", "more") is None
    await restored.tell("test", "more", {"told": "by the same user as ever"})
    await restored.close()
