"""Where settings are read from: one TOML file, and environment variables over it; and how a fault in them is said.

Called by ``hub.config.load``, once. What the values mean is the model's business.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsError

from hub.errors import ConfigError

# Variables with the prefix that are not settings: they say where settings or a broker are.
_NOT_SETTINGS = frozenset(
    {
        "HUB_CONFIG",
        "HUB_DEBUG",
        "HUB_OPERATOR",
        "HUB_RABBITMQ_SERVER",
        "HUB_TEST_BROKER",
        "HUB_TEST_FOREIGN",
        "HUB_TEST_POSTGRESQL",
    }
)


def read(model: type[BaseSettings], path: Path | None, environ: Mapping[str, str]) -> dict[str, Any]:
    """Give the values of file and environment, not validated yet.

    Raises:
        ConfigError: the file cannot be read or is not TOML, or a variable that is a whole table is not JSON.
    """
    ours = _overlay(_read_toml(path, environ), _read_environment(model, environ))
    values: dict[str, Any] = _overlay(_standard(environ), ours)
    return values


def _standard(environ: Mapping[str, str]) -> dict[str, Any]:
    """Give what a variable that is not ours but everybody's says, below file and environment of ours."""
    endpoint = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    return {"telemetry": {"otlp_endpoint": endpoint}} if endpoint else {}


def _read_toml(path: Path | None, environ: Mapping[str, str]) -> dict[str, Any]:
    named = path or (Path(environ["HUB_CONFIG"]) if environ.get("HUB_CONFIG") else None)
    file = named or Path("hub.toml")
    if not named and not file.is_file():
        return {}
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the settings file {file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not TOML: {error}") from None


def _read_environment(model: type[BaseSettings], environ: Mapping[str, str]) -> dict[str, Any]:
    known = {name: value for name, value in environ.items() if name.upper() not in _NOT_SETTINGS}
    source = EnvSettingsSource(model)
    source.env_vars = {name.lower(): value for name, value in known.items()}
    try:
        values: dict[str, Any] = source()
        return values
    except SettingsError as error:
        # Without the cause, which holds the value.
        raise ConfigError(
            f"environment: expected JSON in a variable that is a whole table: {error}"
        ) from None


def unknown_variables(model: type[BaseSettings], environ: Mapping[str, str]) -> tuple[str, ...]:
    """Give a fault for each variable with the prefix that is no setting: most likely misspelt."""
    tables = ", ".join(f"HUB_{table.upper()}__…" for table in model.model_fields)
    return tuple(
        f"{name}: no such setting; expected one of {tables}"
        for name in sorted(environ)
        if name.upper().startswith("HUB_")
        and name.upper() not in _NOT_SETTINGS
        and name[4:].split("__")[0].lower() not in model.model_fields
    )


def _overlay(under: Any, over: Any) -> Any:
    """Lay ``over`` on ``under``; a table of positions (``{"0": …}``) is laid on a list of tables."""
    if isinstance(under, list) and isinstance(over, dict):
        positions = over if all(key.isdigit() for key in over) else {"0": over} if len(under) == 1 else None
        if positions is None:
            return over
        tables = under + [{}] * (max(map(int, positions)) + 1 - len(under))
        return [_overlay(table, positions.get(str(n), {})) for n, table in enumerate(tables)]
    if isinstance(under, dict) and isinstance(over, dict):
        return under | {key: _overlay(under.get(key), value) for key, value in over.items()}
    if isinstance(over, dict) and over and all(key.isdigit() for key in over):
        return [over[key] for key in sorted(over, key=int)]
    return over


def fault_of(item: Any) -> str:
    """One sentence for one fault: which key, what was expected, what kind of value came (never the value)."""
    where = ".".join(str(part) for part in item["loc"]) or "settings"
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        return f"{where}: no such setting"
    if item["type"] == "missing":
        return f"{where}: expected a value, got none"
    if item["type"] == "value_error":
        return f"{where}: {message}"
    kind = "" if ", got " in message else f", got {type(item['input']).__name__}"
    return f"{where}: {message[:1].lower() + message[1:]}{kind}"
