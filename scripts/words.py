#!/usr/bin/env python3
"""Refuse the words of docs/glossary.md that have a plain one: in names, and at the beginning of docstrings."""

import ast
import re
import sys
from pathlib import Path

FOLDERS = ("hub", "consumers", "producers")
BEGIN, END = "<!-- checked words -->", "<!-- end of checked words -->"
# A docstring says what is done, not who is given or told something.
FIRST = {"Give", "Gives", "Tell", "Tells", "Let", "Lets"}
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def words_in(glossary: str) -> set[str]:
    """Return the words of the list between the two marks."""
    listed = glossary.split(BEGIN)[1].split(END)[0]
    return set(re.findall(r"`([a-z]+)`", listed))


def faults_in(source: str, words: set[str]) -> list[tuple[int, str]]:
    """Return line and fault for each name and docstring that uses one of the words."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(source)):
        for name in _names(node):
            bad = {part.lower() for part in _PART.findall(name)} & words
            found += [(node.lineno, f"{name}: expected the plain word for {word!r}") for word in sorted(bad)]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and (
            text := ast.get_docstring(node)
        ):
            first = text.split(maxsplit=1)[0].strip(".,;:")
            if first in FIRST:
                fault = f"{node.name}: expected a docstring that says what is done, got one that begins with {first!r}"
                found.append((node.lineno, fault))
    return found


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.arg):
        return [node.arg]
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return [node.id]
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
        return [node.attr]
    return []


def main() -> int:
    """Print each fault with its place; end with 1 when there is one."""
    words = words_in(Path("docs/glossary.md").read_text(encoding="utf-8"))
    faults = [
        f"{file}:{line}: {fault}"
        for folder in FOLDERS
        for file in sorted(Path(folder).rglob("*.py"))
        for line, fault in faults_in(file.read_text(encoding="utf-8"), words)
    ]
    print(*(faults or ["words: ok"]), sep="\n")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
