"""``hub schema``: the contract with other services, as files. Reads no settings and asks no broker.

``schemas/`` in the repository is the contract as published, and the baseline of what may change: an export refuses
to overwrite a promise (see ``hub.contract.compatibility``) unless an option says that this is meant.

    schemas/<type>.json               the data of an event: the body of a plain JSON message
    schemas/cloudevents/<type>.json   the whole CloudEvent
    schemas/examples/<name>.json      bodies to try; the tests publish these very ones
    schemas/asyncapi.json             all of it as one AsyncAPI 3.0 document
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from hub.cli.output.printing import counted, note, print_json, say
from hub.contract import asyncapi
from hub.contract.compatibility import Break, breaks
from hub.contract.examples import EXAMPLES
from hub.contract.field_tables import with_field_tables
from hub.contract.json_schema import data_schema, envelope_schema
from hub.errors import ConfigError
from hub.models.events import EVENT_TYPES

app = typer.Typer(no_args_is_help=True, help="The contract with other services: JSON Schemas and AsyncAPI.")

_OURS = "urn:dropship-hub:"
_REMEDY = "hub: run: hub schema export"
_BREAKS_REMEDY = (
    "hub: this breaks who relies on the contract: keep the field as it was and add another, or a new event type;"
    " --breaking exports it all the same"
)


@app.command()
def export(
    to: Annotated[Path, typer.Option(help="The folder of the contract.", file_okay=False)] = Path("schemas"),
    page: Annotated[
        Path, typer.Option(help="The page that holds the tables of fields; skipped if it is not there.")
    ] = Path("docs/integration.md"),
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 naming what differs.")
    ] = False,
    breaking: Annotated[
        bool, typer.Option("--breaking", help="Overwrite promises too; for what nobody relies on yet.")
    ] = False,
) -> None:
    """Write the schemas, the examples and the AsyncAPI document, and the tables of fields in the page."""
    wanted = {to / name: text for name, text in files().items()}
    wanted |= _page(page)
    broken = breaks(published(to), generated())
    stale = [
        path for path in wanted if not path.is_file() or path.read_text(encoding="utf-8") != wanted[path]
    ]
    left = sorted(set(_exported(to)) - set(wanted))
    if check:
        _check(broken, stale, left)
        return
    if broken and not breaking:
        _tell(broken)
        note("hub: nothing was written")
        raise typer.Exit(1)
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path], encoding="utf-8")
    for path in left:
        note(f"hub: {path} is not exported any more; delete it")
    say(f"{counted(len(wanted), 'file')}, {len(stale)} written")


@app.command()
def show(
    event_type: Annotated[str, typer.Argument(metavar="TYPE", help=f"One of {', '.join(EVENT_TYPES)}.")],
    cloudevent: Annotated[
        bool, typer.Option("--cloudevent", help="The whole CloudEvent instead of its data.")
    ] = False,
) -> None:
    """Print the JSON Schema of one event."""
    kind = EVENT_TYPES.get(event_type)
    if kind is None:
        raise ConfigError(f"TYPE: expected one of {', '.join(EVENT_TYPES)}; got {event_type!r}")
    print_json(envelope_schema(kind) if cloudevent else data_schema(kind))


def files() -> dict[str, str]:
    """Return every file of the contract by its path in the folder."""
    found = {f"{name}.json": _json(data_schema(kind)) for name, kind in EVENT_TYPES.items()}
    found |= {f"cloudevents/{name}.json": _json(envelope_schema(kind)) for name, kind in EVENT_TYPES.items()}
    found |= {f"examples/{example.name}.json": _json(example.data) for example in EXAMPLES}
    return found | {"asyncapi.json": asyncapi.to_json()}


def generated() -> dict[str, Mapping[str, Any]]:
    """Return the data schemas as the models say today, by event type."""
    return {name: data_schema(kind) for name, kind in EVENT_TYPES.items()}


def published(folder: Path) -> dict[str, Mapping[str, Any]]:
    """Return the data schemas that lie in a folder, by event type; whatever else lies there is left alone.

    Raises:
        ConfigError: a file of ours is no JSON.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for path in sorted(folder.glob("*.json")):
        schema = _read(path)
        if isinstance(schema, dict) and str(schema.get("$id", "")).startswith(_OURS):
            found[path.stem] = schema
    return found


def _check(broken: list[Break], stale: list[Path], left: list[Path]) -> None:
    _tell(broken)
    for path in stale:
        note(f"hub: {path} is not what the models say")
    for path in left:
        note(f"hub: {path} is not exported any more; delete it")
    if stale and not broken:
        note(_REMEDY)
    if broken or stale or left:
        raise typer.Exit(1)
    say("the contract is what the models say")


def _tell(broken: list[Break]) -> None:
    for each in broken:
        note(f"hub: breaking: {each}")
    if broken:
        note(_BREAKS_REMEDY)


def _exported(folder: Path) -> list[Path]:
    """Return the files that an export wrote, now or earlier."""
    ours = [folder / f"{name}.json" for name in published(folder)]
    return ours + [path for inner in ("cloudevents", "examples") for path in (folder / inner).glob("*.json")]


def _page(page: Path) -> dict[Path, str]:
    if not page.is_file():
        return {}
    try:
        return {page: with_field_tables(page.read_text(encoding="utf-8"))}
    except ValueError as fault:
        raise ConfigError(f"{page}: {fault}") from None


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError as fault:
        raise ConfigError(f"{path}: expected JSON: {fault}") from None


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
