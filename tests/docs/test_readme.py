"""The README's list of rooms is the tree."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = re.compile(r"`((?:\w+/)+|hub/\w+\.py)`")


def folders() -> set[str]:
    """Every folder at the top and every room of the hub that is under version control."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.splitlines()
    parts = [file.split("/") for file in listed if "/" in file and not file.startswith(".")]
    rooms = {f"{first}/{second}/" for first, second, *rest in parts if first == "hub" and rest}
    return {f"{first}/" for first, *_ in parts} | rooms


def test_every_room_is_listed_and_every_room_that_is_listed_is_there() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("## Where things are")[2].partition("\n## ")[0]

    listed = set(ROOMS.findall(section))

    assert folders() - {"hub/"} == {room for room in listed if room.endswith("/")}
    assert all((ROOT / room).exists() for room in listed)
