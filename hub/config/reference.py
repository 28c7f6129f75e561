"""The table of all settings, derived from their models: key, default, what for. docs/settings.md holds a copy; a test compares."""

from __future__ import annotations

import types
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hub.config.settings import Settings
from hub.config.types import may_be_in_a_file


def settings_table() -> str:
    """Return a Markdown table of every setting; a table that may be repeated is written ``[[name]]``."""
    rows = ["| setting | default | what for |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        for model in _models(field.annotation):
            head = f"[[{name}]]" if get_origin(field.annotation) is not None else f"[{name}]"
            rows.append(f"| **`{head}`** | | {_first_line(model)} |")
            rows += [f"| `{key}` | {default} | {meaning} |" for key, default, meaning in _rows(model, "")]
    return "\n".join(rows)


def duration_text(value: timedelta) -> str:
    """Write a duration as the settings file does: in the largest unit that divides it."""
    milliseconds = round(value.total_seconds() * 1000)
    for unit, length in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if milliseconds >= length and milliseconds % length == 0:
            return f"{milliseconds // length}{unit}"
    return f"{milliseconds}ms" if milliseconds else "0s"


def _rows(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        inner = _models(field.annotation)
        if not inner:
            yield _key(key, field), _default(field), _escaped(field.description or _first_line(model))
            continue
        for choice in inner:
            kind = choice.model_fields.get("type")
            yield from _rows(choice, f"{key}." if kind is None else f"{key}[{kind.default}].")


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Return the settings models inside an annotation: of a table, of repeated tables, of a choice of tables."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (tuple, Union, types.UnionType, Annotated):
        return [model for inner in get_args(annotation) for model in _models(inner)]
    return []


def _key(key: str, field: FieldInfo) -> str:
    return f"{key}`, `{key}_file" if may_be_in_a_file(field) else key


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return ""
    return f"`{_escaped(_toml(value))}`"


def _toml(value: Any) -> str:
    if isinstance(value, timedelta):
        return f'"{duration_text(value)}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, dict):
        return "{}"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _first_line(model: type[BaseModel]) -> str:
    return _escaped((model.__doc__ or "").strip().splitlines()[0].replace("``", "`"))


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
