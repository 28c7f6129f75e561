"""A guide's code blocks as what they say they are: whole files, and edits of files that must fit exactly.

A block names its file in its first line: ```python title="hub/partners/toy/wire.py". A ```diff block has hunks that begin
with `@@`; the lines of a hunk without its `+` lines must stand in the file exactly once.
"""

import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(
    r'^```(?P<kind>\w+) title="(?P<file>[^"]+)"\n(?P<body>.*?)^```$', re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    kind: str
    file: str
    body: str

    def apply(self, folder: Path) -> None:
        target = folder / self.file
        if self.kind == "diff":
            text = target.read_text(encoding="utf-8")
            for hunk in self.body.split("@@\n")[1:]:
                text = _patched(text, hunk, self.file)
        else:
            assert not target.exists(), (
                f"{self.file}: the guide writes it as a new file, and it is there already"
            )
            target.parent.mkdir(parents=True, exist_ok=True)
            text = self.body
        target.write_text(text, encoding="utf-8")


def blocks_of(guide: Path) -> tuple[Block, ...]:
    text = guide.read_text(encoding="utf-8")
    return tuple(Block(found["kind"], found["file"], found["body"]) for found in _BLOCK.finditer(text))


def _patched(text: str, hunk: str, file: str) -> str:
    lines = hunk.splitlines(keepends=True)
    unmarked = [line for line in lines if line[:1] not in "+- "]
    assert not unmarked, f"{file}: expected lines that begin with +, - or a blank, got {unmarked}"
    before = "".join(line[1:] for line in lines if line[0] != "+")
    after = "".join(line[1:] for line in lines if line[0] != "-")
    found = text.count(before)
    assert found == 1, f"{file}: expected this once, found it {found} times; mend the guide:\n{before}"
    return text.replace(before, after)
