"""The operator's manual: every alert, every reason of a letter, only commands that there are, and the played incident."""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import consumers
import hub
import producers
from hub.errors import HubError, PermanentError, TransientError
from tests.docs.commands import commands_in, fault_of

ROOT = Path(__file__).parents[2]
MANUAL = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
ALERTS = [
    rule
    for group in yaml.safe_load((ROOT / "monitoring" / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
SECTIONS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##)", MANUAL, re.MULTILINE | re.DOTALL))
_, LETTERS, REST = re.split(r"^## Letters, by reason\n|^### Replaying many\n", MANUAL, flags=re.MULTILINE)
_, INCIDENT, _ = re.split(r"<!-- incident: [^>]*-->\n", MANUAL)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_each_alert_says_what_it_means_what_to_look_at_what_to_do_and_when_it_clears(alert: dict) -> None:
    name = alert["alert"]

    steps = re.findall(r"^- \*\*(\w+)\*\*: \S", SECTIONS.get(name, ""), re.MULTILINE)

    assert steps == ["Means", "Look", "Do", "Clears"]
    assert alert["annotations"]["runbook"] == f"docs/operations.md#{name.lower()}"


def test_no_section_is_about_an_alert_that_is_gone() -> None:
    assert {name for name in SECTIONS if name.startswith("Hub")} == {alert["alert"] for alert in ALERTS}


def errors(parent: type[HubError]) -> Iterator[str]:
    yield parent.__name__
    for child in parent.__subclasses__():
        if not child.__name__.startswith("_") and child.__module__.split(".")[0] != "tests":
            yield from errors(child)


def test_each_error_that_can_end_as_a_letter_has_its_row() -> None:
    for package in (hub, consumers, producers):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not (module.name.endswith("__main__") or module.name.startswith("hub.state.migrations.")):
                importlib.import_module(module.name)

    named = {name for error in (PermanentError, TransientError) for name in errors(error)}

    assert named - {"PermanentError"} - set(re.findall(r"`(\w+)`", LETTERS)) == set()


def source() -> Iterator[tuple[Path, ast.Module]]:
    for package in ("hub", "consumers", "producers"):
        for file in (ROOT / package).rglob("*.py"):
            yield file, ast.parse(file.read_text(encoding="utf-8"))


def said(value: ast.expr) -> str:
    """The words of a literal, with a … for each value in it; nothing for a text that is made elsewhere."""
    match value:
        case ast.Constant(str(text)):
            return text
        case ast.JoinedStr(parts):
            return "".join(said(part) or "…" for part in parts)
        case _:
            return ""


def fragments() -> list[list[str]]:
    """What the first column of the table quotes, as words around a gap."""
    rows = re.findall(r"^\| (.+?) \| ", LETTERS, re.MULTILINE)[2:]
    quoted = [text for row in rows for text in re.findall(r"`([^`]+)`", row)]
    return [[part.strip() for part in re.split(r"…|<[^>]*>", text) if part.strip()] for text in quoted]


def test_each_outcome_that_rejects_in_words_of_its_own_has_its_row() -> None:
    reasons = {
        (file.name, said(call.args[0]))
        for file, tree in source()
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Reject"
        if call.args and said(call.args[0])
    }

    uncovered = [
        (file, reason)
        for file, reason in reasons
        if not any(parts and all(part in reason for part in parts) for parts in fragments())
    ]

    assert reasons
    assert uncovered == []


def test_each_reason_in_the_table_is_one_that_the_hub_says() -> None:
    texts = [said(node) for _, tree in source() for node in ast.walk(tree) if isinstance(node, ast.expr)]
    everything = "\n".join(filter(None, texts))
    # A status and what the broker calls its own reasons are values, not words of ours.
    of_others = {"answered", "set aside by the broker"}

    missing = [
        part
        for parts in fragments()
        for part in parts
        if not any(part.startswith(word) for word in of_others)
        if part not in everything and part not in set(errors(HubError))
    ]

    assert missing == []


@pytest.mark.parametrize("page", ["README.md", "docs/operations.md", "docs/new-partner.md"])
def test_each_command_that_a_page_shows_is_one_of_the_hub(page: str) -> None:
    typed = list(commands_in((ROOT / page).read_text(encoding="utf-8")))

    assert typed
    assert [fault for fault in map(fault_of, typed) if fault] == []


def test_a_command_that_is_gone_is_found() -> None:
    page = "```console\n$ hub letters reply --all\n```\nor `hub letters replay --fast`, `hub lettres list`"

    assert list(map(fault_of, commands_in(page))) == [
        "hub letters reply --all: letters has no command reply",
        "hub letters replay --fast: there is no --fast",
        "hub lettres list: there is no command lettres",
    ]


def test_the_incident_goes_from_the_alert_to_the_empty_list() -> None:
    story = [
        "HubDeadLetters", "$ hub doctor", "$ hub letters list", "$ hub letters show", "--first 2", "--dry-run",
        "--first 2", "letters replayed", "$ hub letters list\nno letters", "$ hub orders show", "done after a replay",
    ]  # fmt: skip

    place = 0
    for step in story:
        place = INCIDENT.find(step, place)
        assert place >= 0, f"expected {step!r} next in the incident; scripts/incident plays it anew"
        place += len(step)
