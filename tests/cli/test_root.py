"""The root command: version, short help, and how to type other commands."""

from importlib.metadata import version
from pathlib import Path

import pytest

from hub.cli.up.command import command
from hub.config.settings import load
from hub.service.flows import choose
from tests.cli.conftest import EXAMPLE, Hub


def test_the_version_is_the_one_that_is_installed(hub: Hub) -> None:
    result = hub("--version")

    assert (result.exit_code, result.stdout) == (0, f"dropship-hub {version('dropship-hub')}\n")


@pytest.mark.parametrize("words", [("-h",), ("letters", "-h"), ("letters", "list", "-h")])
def test_help_has_a_short_form_everywhere(hub: Hub, words: tuple[str, ...]) -> None:
    result = hub(*words)

    assert result.exit_code == 0
    assert "Usage" in result.stdout


def test_a_flow_may_be_named_as_in_the_log_or_as_in_its_queue() -> None:
    settings = load(EXAMPLE, environ={})

    assert choose(["update-order-status"], settings) == choose(["update_order_status"], settings)


@pytest.mark.parametrize(
    ("on_path", "expected"), [(True, "hub"), (False, "bin/hub")], ids=["on the path", "elsewhere"]
)
def test_the_hint_names_the_command_as_it_can_be_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_path: bool, expected: str
) -> None:
    program = tmp_path / "bin" / "hub"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [str(program), "up"])
    monkeypatch.setenv("PATH", str(program.parent) if on_path else "/nowhere")

    assert command() == expected
