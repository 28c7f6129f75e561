"""The `hub …` commands that a page shows, and whether they are commands with such options."""

import re
import shlex
from collections.abc import Iterator

from hub.cli import COMMANDS

_BLOCK = re.compile(r"^```(?P<kind>\w*).*?\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(hub [^`]+)`")


def commands_in(page: str) -> Iterator[str]:
    """In consoles and shell blocks, and between backticks in the prose."""
    for block in _BLOCK.finditer(page):
        for line in block["body"].splitlines():
            typed = line.removeprefix("$ ").partition("  #")[0].strip()
            if typed.startswith("hub ") and (line.startswith("$ ") or block["kind"] == "sh"):
                yield typed
    yield from _INLINE.findall(_BLOCK.sub("", page))


def fault_of(typed: str) -> str | None:
    """Say what is no command or option of the hub in this line."""
    _, *words = shlex.split(typed)
    if words[0] == "--config":
        words = words[2:]
    name, *words = words
    row = next((row for row in COMMANDS if row.name == name), None)
    if row is None:
        return f"{typed}: there is no command {name}"
    command = row.load()
    while words and (inner := getattr(command, "commands", None)):
        if words[0] not in inner:
            return f"{typed}: {name} has no command {words[0]}"
        command, name, words = inner[words[0]], f"{name} {words[0]}", words[1:]
    known = {option for parameter in command.params for option in parameter.opts}
    unknown = [word for word in words if word.startswith("--") and word not in known]
    return f"{typed}: there is no {', '.join(unknown)}" if unknown else None
