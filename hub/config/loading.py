"""Where settings are read from: one TOML file, and environment variables over it; and how a fault in them is said.

Called by ``hub.config.settings.load``, once. What the values mean is the model's business.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsError

from hub.config.positions import line_numbers, line_of
from hub.config.types import may_be_in_a_file, shortened
from hub.errors import ConfigError

# More of them, nobody reads; each takes kilobytes.
_MOST_FAULTS = 1000
# Bytes of the settings file; one with a hundred webhook clients has some 50 kB.
_LARGEST_FILE = 10**6
# Characters of an unknown name that are compared with the known ones.
_LONGEST_NAME = 100
# How much of an unknown variable must be that of a setting to be taken for it: one letter of six may be wrong.
_NEAR = 0.85
# What a platform makes of a service and its ports: HUB_SERVICE_HOST, HUB_SERVICE_PORT_AMQP, HUB_PORT_5672_TCP_ADDR.
_SERVICE = re.compile(
    r"HUB(_[A-Z0-9]+)*?_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
# Variables with the prefix that are not settings: they say where settings or a broker are.
_NOT_SETTINGS = frozenset(
    {
        "HUB_CONFIG",
        "HUB_DEBUG",
        "HUB_OPERATOR",
        "HUB_RABBITMQ_SERVER",
        "HUB_RABBITMQ_SERVERS",
        "HUB_TEST_BROKER",
        "HUB_TEST_FOREIGN",
        "HUB_TEST_POSTGRESQL",
    }
)


def read(model: type[BaseSettings], path: Path | None, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of file and environment, not validated yet.

    Raises:
        ConfigError: the file cannot be read or is not TOML, a variable that is a whole table is not JSON, or a text
            holds a NUL.
    """
    file = settings_file(environ, path)
    written = content_of(file) if file is not None else {}
    ours: dict[str, Any] = _overlay(written, _read_environment(model, environ))
    if faults := tuple(islice(_with_nul(ours), _MOST_FAULTS)):
        raise ConfigError(faults=faults)
    values: dict[str, Any] = _overlay(_standard(environ), ours)
    return values


def _standard(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what a variable that is not ours but everybody's says, below file and environment of ours."""
    endpoint = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    return {"telemetry": {"otlp_endpoint": endpoint}} if endpoint else {}


def settings_file(environ: Mapping[str, str], path: Path | None = None) -> Path | None:
    """Return the file that settings are read from: ``path``, else ``HUB_CONFIG``, else ``hub.toml`` if it is there."""
    named = path or (Path(environ["HUB_CONFIG"]) if environ.get("HUB_CONFIG") else None)
    file = named or Path("hub.toml")
    return file if named or file.is_file() else None


def are_given(model: type[BaseModel], environ: Mapping[str, str], path: Path | None = None) -> bool:
    """Return whether there are any settings: a file, or a variable of one of the tables."""
    tables = {f"HUB_{name.upper()}" for name in model.model_fields}
    return settings_file(environ, path) is not None or any(
        "__" in name and name.upper().split("__")[0] in tables for name in environ
    )


def content_of(file: Path) -> dict[str, Any]:
    """Return the content of a settings file. Operators alone write it, so its size is bounded and no more.

    A dotted key takes time with the square of its parts: ten kilobytes of one take seconds.

    Raises:
        ConfigError: it cannot be read, is too large, or is not TOML.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(_LARGEST_FILE + 1)
        if len(content) > _LARGEST_FILE:
            raise ConfigError(f"{file}: expected settings of at most {_LARGEST_FILE} bytes, got more")
        return tomllib.loads(content.decode())
    except OSError as error:
        raise ConfigError(f"cannot read the settings file {file}: {error.strerror}") from None
    except RecursionError:
        raise ConfigError(f"{file} is not TOML that can be read: its values are nested too deep") from None
    except ValueError as error:
        # Not TOMLDecodeError alone: an integer of more than 4300 digits is refused by Python itself.
        raise ConfigError(f"{file} is not TOML: {shortened(str(error), 200)}") from None


def _read_environment(model: type[BaseSettings], environ: Mapping[str, str]) -> dict[str, Any]:
    known = {name: value for name, value in environ.items() if name.upper() not in _NOT_SETTINGS}
    _check_utf8(known)
    source = EnvSettingsSource(model)
    source.env_vars = {name.lower(): value for name, value in known.items()}
    try:
        values: dict[str, Any] = source()
        return values
    except RecursionError:
        raise ConfigError("environment: expected JSON that is not nested so deep") from None
    except SettingsError as error:
        # Without the cause, which holds the value.
        raise ConfigError(
            f"environment: expected JSON in a variable that is a whole table: {error}"
        ) from None


def _check_utf8(environ: Mapping[str, str]) -> None:
    """Refuse variables of ours that are no UTF-8: Python makes half surrogate pairs of such bytes."""
    faults = tuple(
        f"{shortened(ascii(name)[1:-1])}: expected UTF-8, got other bytes"
        for name, value in sorted(environ.items())
        if name.upper().startswith(("HUB_", "OTEL_EXPORTER_OTLP_ENDPOINT")) and not _is_unicode(name + value)
    )
    if faults:
        raise ConfigError(faults=faults)


def _with_nul(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield a fault for each text with a NUL: accounts and names are stored, and PostgreSQL refuses them."""
    # By hand and not by recursion: a dotted key may be nested deeper than Python's stack.
    left: list[tuple[str, Any]] = [("", values)]
    while left:
        where, value = left.pop()
        if isinstance(value, str) and "\0" in value:
            yield f"{where}: expected a text without U+0000"
        elif isinstance(value, dict | list):
            parts = value.items() if isinstance(value, dict) else enumerate(value)
            for name, each in parts:
                path = f"{where}.{shortened(str(name))}".lstrip(".")
                left.append((shortened(path, 200), each))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def unknown_variables(model: type[BaseSettings], environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return a fault for each variable that is no setting and was most likely meant to be one.

    That is one with "__" in it, as only ours have, and one that looks like a setting or like another variable of ours.
    The rest of them is ``foreign_variables``.
    """
    known = _variables(model)
    return tuple(
        f"{shortened(name)}: no such setting"
        + (f"; did you mean {near}?" if near else f"; expected one of {tables}")
        for tables in (", ".join(f"HUB_{table.upper()}__…" for table in model.model_fields),)
        for name in _unknown(model, environ)
        if not _is_of_a_platform(name, environ[name])
        if (near := _near(name, known)) or "__" in name
    )


def foreign_variables(model: type[BaseSettings], environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of variables with our prefix that are nothing of ours, and are ignored.

    Kubernetes gives each container some for every service: one that is called "hub" makes ``HUB_PORT=tcp://…``.
    """
    known = _variables(model)
    return tuple(
        name
        for name in _unknown(model, environ)
        if _is_of_a_platform(name, environ[name]) or not ("__" in name or _near(name, known))
    )


def _unknown(model: type[BaseSettings], environ: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(environ):
        is_ours = name[4:].split("__")[0].lower() in model.model_fields or name.upper() in _NOT_SETTINGS
        if name.upper().startswith("HUB_") and not is_ours:
            yield name


def _is_of_a_platform(name: str, value: str) -> bool:
    """Whether it is one of the variables that Kubernetes, or a link of docker, makes of a service."""
    if _SERVICE.fullmatch(name):
        return True
    # Of "a" and "HUB_HTTP_PORT=8080" only the value says that a person wrote it.
    return name.endswith("_PORT") and value.startswith(("tcp://", "udp://", "sctp://"))


def _near(name: str, known: Mapping[str, str]) -> str:
    """Return the variable that was meant, or nothing."""
    near = get_close_matches(_letters(name[:_LONGEST_NAME]), known, n=1, cutoff=_NEAR)
    return known[near[0]] if near else ""


@cache
def _variables(model: type[BaseSettings]) -> Mapping[str, str]:
    """Return every variable of ours, by its letters alone."""
    names = [*_NOT_SETTINGS, *(f"HUB_{table.upper()}" for table in model.model_fields)]
    left: list[tuple[str, type[BaseModel]]] = [("HUB", model)]
    while left:
        above, table = left.pop()
        for name in _names_at((), table):
            names.append(f"{above}__{name.upper()}")
            field = table.model_fields.get(name)
            left += [(names[-1], inner) for inner in (_models_in(field.annotation) if field else ())]
    return {_letters(name): name.replace("HUB__", "HUB_", 1) for name in names}


def _letters(name: str) -> str:
    return re.sub(r"[\d_]", "", name.upper().removeprefix("HUB_"))


def _overlay(under: Any, over: Any) -> Any:
    """Lay ``over`` on ``under``; a table of positions (``{"0": …}``) is laid on a list of tables."""
    if isinstance(under, list) and isinstance(over, dict):
        positions = over if _are_positions(over) else {"0": over} if len(under) == 1 else None
        if positions is None:
            return over
        tables = under + [{}] * (max(map(int, positions)) + 1 - len(under))
        return [_overlay(table, positions.get(str(n), {})) for n, table in enumerate(tables)]
    if isinstance(under, dict) and isinstance(over, dict):
        return under | {key: _overlay(under.get(key), value) for key, value in over.items()}
    if isinstance(over, dict) and _are_positions(over):
        return [over[key] for key in sorted(over, key=int)]
    return over


def _are_positions(table: Mapping[str, Any]) -> bool:
    """Whether the keys count tables; three digits at most, since each table before the last one is made too."""
    return bool(table) and all(key.isascii() and key.isdigit() and len(key) <= 3 for key in table)


def faults_of(
    error: ValidationError,
    model: type[BaseModel],
    *,
    file: Path | None = None,
    environ: Mapping[str, str] = {},
) -> tuple[str, ...]:
    """Return a sentence for each fault, or one for all of them where there are too many to read.

    Args:
        error: what the model refuses.
        model: of the settings, for the nearest name of a misspelt one.
        file: where the settings are written, for the line of each fault.
        environ: the environment that lies over the file, for the variable of each fault.
    """
    if error.error_count() > _MOST_FAULTS:
        return (
            f"settings: expected those of the hub, got {error.error_count()} faults: is it the right file?",
        )
    lines = _lines_of(file)
    variables = {name.upper() for name in environ}
    return tuple(
        f"{fault_of(item)}{_nearest(item, model)}{_place(item['loc'], file, lines, variables)}"
        for item in error.errors(include_url=False)
    )


def _lines_of(file: Path | None) -> Mapping[tuple[str | int, ...], int]:
    try:
        return line_numbers(file.read_text(encoding="utf-8")) if file is not None else {}
    except (OSError, ValueError):
        # It was read a moment ago; without it faults have no line.
        return {}


def _place(
    path: tuple[str | int, ...],
    file: Path | None,
    lines: Mapping[tuple[str | int, ...], int],
    variables: Collection[str],
) -> str:
    """Return where a setting was given: its variable, else its line, else nothing."""
    for parts in (path, [part for part in path if isinstance(part, str)]):
        variable = "HUB_" + "__".join(str(part) for part in parts).upper()
        if variable in variables:
            return f" ({shortened(variable)})"
    line = line_of(path, lines)
    return f" ({file}, line {line})" if line is not None else ""


def _nearest(item: Any, model: type[BaseModel]) -> str:
    """Return the known names that look like one that is unknown."""
    if item["type"] != "extra_forbidden":
        return ""
    *above, name = item["loc"]
    if near := get_close_matches(str(name)[:_LONGEST_NAME], _names_at(above, model), n=2, cutoff=0.6):
        return f"; did you mean {' or '.join(near)}?"
    return ""


def _names_at(path: Sequence[str | int], model: type[BaseModel]) -> list[str]:
    """Return the settings of the table at a path; of a table with several forms those of all."""
    models = [model]
    for part in path:
        inner = [each.model_fields[part].annotation for each in models if part in each.model_fields]
        # A number counts tables, and a word that is no field tells one form of a table from another.
        models = [found for annotation in inner for found in _models_in(annotation)] or models
    names = [(name, field) for each in models for name, field in each.model_fields.items()]
    return [
        *(name for name, _ in names),
        *(f"{name}_file" for name, field in names if may_be_in_a_file(field)),
    ]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def fault_of(item: Any) -> str:
    """One sentence for one fault: which key, what was expected, what kind of value came (never the value)."""
    where = shortened(".".join(shortened(str(part)) for part in item["loc"]), 200) or "settings"
    # pydantic quotes the tag of a table that it does not know.
    message = shortened(str(item["msg"]).removeprefix("Value error, "), 400)
    if item["type"] == "extra_forbidden":
        return f"{where}: no such setting"
    if item["type"] == "missing":
        return f"{where}: expected a value, got none"
    if item["type"] == "value_error":
        return f"{where}: {message}"
    kind = "" if ", got " in message else f", got {type(item['input']).__name__}"
    return f"{where}: {message[:1].lower() + message[1:]}{kind}"
