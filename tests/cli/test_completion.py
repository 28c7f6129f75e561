"""Completion in the shell: commands of commands, and the names of queues."""

from tests.cli.conftest import Hub


def completed(hub: Hub, *words: str) -> list[str]:
    line = " ".join(("hub", *words))
    result = hub(_HUB_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(words)))
    return result.stdout.split()


def test_the_shell_completes_commands_of_a_group_that_is_loaded_when_it_is_asked_for(hub: Hub) -> None:
    assert completed(hub, "letters", "re") == ["replay"]


def test_the_shell_completes_the_names_of_queues(hub: Hub) -> None:
    assert completed(hub, "letters", "list", "--queue", "hub.webhook.a") == ["hub.webhook.acme"]


def test_completion_can_be_installed(hub: Hub) -> None:
    assert "--install-completion" in hub("--help").output
