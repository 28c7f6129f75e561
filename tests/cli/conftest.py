"""The command line in this process: ``hub("topology", "plan")`` with settings of the test's own."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hub.cli import app

EXAMPLE = Path(__file__).parents[2] / "hub.example.toml"
Hub = Callable[..., Result]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """Run a command with the example's settings and a state store of the test's own, in an empty folder."""
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

    return run
