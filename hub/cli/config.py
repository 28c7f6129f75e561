"""``hub config``: whether the settings are right, what they come to, and which there are."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel, SecretStr

from hub.cli.output.printing import AsJson, note, print_json, say
from hub.config.reference import duration_text, settings_table
from hub.config.settings import load_given
from hub.config.suspicions import suspicions
from hub.config.types import broker_hosts
from hub.models.types import utc_text
from hub.operations.masking import MASK, masked_path, masked_url

app = typer.Typer(no_args_is_help=True, help="Settings: check, show, and the table of all there are.")


@app.command()
def check() -> None:
    """Name every fault of the settings at once (exit status 2), or say that they are fine, and what is suspicious."""
    settings = load_given()
    for suspicion in suspicions(settings):
        note(f"warning: {suspicion}")
    say("settings are fine")


@app.command()
def show(as_json: AsJson = False) -> None:
    """Show the settings in effect, file and environment together, with secrets masked."""
    settings = load_given()
    shown = {name: _shown(getattr(settings, name)) for name in type(settings).model_fields}
    if as_json:
        print_json(shown)
        return
    say("\n".join(line for name, value in shown.items() for line in _toml(name, value)).strip())


@app.command()
def table() -> None:
    """Print all settings with default and meaning, as Markdown."""
    say(settings_table())


def _shown(value: Any) -> Any:
    """Return a value as it may be shown: secrets masked, addresses without password, durations as texts."""
    if isinstance(value, BaseModel):
        return {name: _of_field(name, getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, SecretStr):
        secret = value.get_secret_value()
        if not secret.startswith(("amqp://", "amqps://")):
            return MASK
        return ",".join(masked_url(host) for host in broker_hosts(secret))
    if isinstance(value, str):
        return masked_url(value) if "://" in value else value
    if isinstance(value, timedelta):
        return duration_text(value)
    if isinstance(value, datetime):
        return utc_text(value)
    if isinstance(value, tuple):
        return [_shown(item) for item in value]
    if isinstance(value, dict):
        return {key: _shown(item) for key, item in value.items()}
    return str(value) if isinstance(value, Path) else value


def _of_field(name: str, value: Any) -> Any:
    """Return the value of a field; the path of a webhook or token endpoint may be a secret, that of an API is not."""
    if name.endswith("_url") and name != "base_url" and isinstance(value, str):
        return masked_path(value)
    return _shown(value)


def _toml(name: str, value: Any) -> list[str]:
    """Write a table, or a list of tables, as TOML; what is not set is a comment."""
    if isinstance(value, list):
        if not value:
            return ["", f"# no [[{name}]]"]
        return [line for table in value for line in _lines(f"[[{name}]]", name, table)]
    return _lines(f"[{name}]", name, value)


def _lines(head: str, name: str, table: dict[str, Any]) -> list[str]:
    inner = {key: value for key, value in table.items() if isinstance(value, dict)}
    lines = ["", head]
    for key, value in table.items():
        if value is None:
            lines.append(f"# {key} is not set")
        elif key not in inner:
            lines.append(f"{_key(key)} = {json.dumps(value, ensure_ascii=False)}")
    for key, value in inner.items():
        if value:
            lines += _lines(f"[{name}.{_key(key)}]", f"{name}.{_key(key)}", value)
    return lines


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)
