"""The command line in this process: ``hub("topology", "plan")`` with settings of the test's own."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner, Result

from hub.cli import app
from hub.state.store import SqlStore, open_store

EXAMPLE = Path(__file__).parents[2] / "hub.example.toml"
Hub = Callable[..., Result]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Run a command with the example's settings and a state store of the test's own, in an empty folder."""
    handlers = logging.getLogger().handlers[:]
    for name in [name for name in os.environ if name.startswith("HUB_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HUB_CONFIG", str(EXAMPLE))
    monkeypatch.setenv("HUB_STATE__URL", f"sqlite+aiosqlite:///{tmp_path}/hub.db")

    def run(*words: str, stdin: str | None = None, **environment: str) -> Result:
        result = CliRunner().invoke(app, list(words), input=stdin, env=environment)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    yield run
    # A command sets logging up for its process and its streams; both are gone now.
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = handlers


@pytest.fixture
def in_store(tmp_path: Path) -> Callable[[Callable[[SqlStore], Awaitable[object]]], None]:
    """Do something in the state store that the commands will read."""

    def run(act: Callable[[SqlStore], Awaitable[object]]) -> None:
        async def inside() -> None:
            store = await open_store(f"sqlite+aiosqlite:///{tmp_path}/hub.db")
            try:
                await act(store)
            finally:
                await store.close()

        asyncio.run(inside())

    return run
