"""Where a setting stands in its TOML file, so that a fault can name the line.

The reader of TOML that comes with Python keeps no positions. This scan knows table headers, keys and strings over
several lines; what it does not understand has the line of the nearest table or key above it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

Path = tuple[str | int, ...]

_HEADER = re.compile(r"^\s*(\[\[?)\s*(.+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(
    r"""^\s*((?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*'))*)\s*=\s*(.*)$"""
)
_PART = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'')


def line_numbers(text: str) -> Mapping[Path, int]:
    """Return the line (from 1) of each table and key, by path; repeated tables count from 0."""
    lines: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    closing = ""
    depth = 0
    for number, line in enumerate(text.splitlines(), start=1):
        if closing:
            closing = "" if closing in line else closing
            continue
        if depth > 0:
            depth += _nesting(line)
            continue
        if header := _HEADER.match(line):
            table = _within(_parts(header[2]), counts)
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            lines.setdefault((*table, *_parts(key[1])), number)
            value = key[2]
            for quotes in ('"""', "'''"):
                if value.startswith(quotes) and quotes not in value[3:]:
                    closing = quotes
            depth = 0 if closing else max(0, _nesting(value))
    return lines


def line_of(path: Path, lines: Mapping[Path, int]) -> int | None:
    """Return the line of a setting, else of the nearest table or key around it, else None."""
    for length in range(len(path), 0, -1):
        prefix = path[:length]
        # A single [webhooks] may stand for a list of tables: then the file counts none.
        for spelled in (prefix, tuple(part for part in prefix if isinstance(part, str))):
            if (line := lines.get(spelled)) is not None:
                return line
    return None


def _within(parts: Path, counts: Mapping[Path, int]) -> Path:
    """Put the number of the last repeated table behind its name: ``[webhooks.auth]`` is of the last ``[[webhooks]]``."""
    path: Path = ()
    for part in parts[:-1]:
        path = (*path, part)
        if path in counts:
            path = (*path, counts[path])
    return (*path, *parts[-1:])


def _parts(dotted: str) -> Path:
    return tuple(part.strip("\"'") for part in _PART.findall(dotted))


def _nesting(line: str) -> int:
    """Return how many brackets a line opens more than it closes, outside of strings and comments."""
    plain = _STRING.sub("", line).partition("#")[0]
    return sum(plain.count(bracket) for bracket in "[{") - sum(plain.count(bracket) for bracket in "]}")
