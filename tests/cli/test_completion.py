"""Completion in the shell: commands of commands, and the names of queues."""

import pytest
from typer.testing import CliRunner

from hub.cli import app
from tests.cli.conftest import Hub


def completed(*words: str) -> list[str]:
    asked = {
        "_HUB_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(("hub", *words)),
        "COMP_CWORD": str(len(words)),
    }
    return CliRunner().invoke(app, [], prog_name="hub", env=asked).stdout.split()


@pytest.mark.usefixtures("hub")
def test_the_shell_completes_commands_of_a_group_that_is_loaded_when_it_is_asked_for() -> None:
    assert completed("letters", "rep") == ["replay"]


@pytest.mark.usefixtures("hub")
def test_the_shell_completes_the_names_of_queues() -> None:
    assert completed("letters", "list", "--queue", "hub.webhook.a") == ["hub.webhook.acme"]


def test_completion_can_be_installed(hub: Hub) -> None:
    assert "--install-completion" in hub("--help").output
