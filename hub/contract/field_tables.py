"""The fields of every event as Markdown tables, from the schemas; ``docs/integration.md`` holds them between markers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hub.contract.json_schema import Schema, data_schema, routing_keys
from hub.models.events import EVENT_TYPES, FULFILLMENT, ORDERS, EventType

BEGIN = "<!-- written by `hub schema export`: begin -->"
END = "<!-- written by `hub schema export`: end -->"
_WORDS = {"string": "text", "array": "list", "object": "object", "boolean": "true or false"}


def field_tables() -> str:
    """Return one section for each event type, those that others publish first."""
    kinds = sorted(EVENT_TYPES.values(), key=lambda kind: kind.exchange != FULFILLMENT)
    return "\n\n".join(_section(kind) for kind in kinds)


def with_field_tables(page: str) -> str:
    """Return a page with the tables between its markers.

    Raises:
        ValueError: the page does not have each marker once.
    """
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise ValueError(f"expected the lines {BEGIN} and {END} once each")
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{field_tables()}\n\n{END}{after}"


def _section(kind: EventType) -> str:
    schema = data_schema(kind)
    keys = " or ".join(f"`{key}`" for key in routing_keys(kind))
    left_out = "An optional field is left out when it is not known." if kind.exchange == ORDERS else ""
    rows = [f"| {' | '.join(row)} |" for row in _rows(schema, schema, "", ())]
    return "\n".join(
        (
            f"### `{kind.name}`",
            "",
            f"{schema['description']} Exchange `{kind.exchange}`, routing key {keys}. {left_out}".rstrip(),
            "",
            "| field | kind | | meaning |",
            "| --- | --- | --- | --- |",
            *rows,
        )
    )


def _rows(
    node: Schema, root: Schema, path: str, inside: tuple[str, ...]
) -> Iterator[tuple[str, str, str, str]]:
    """Yield a row for each field, and behind it those of the fields in it; ``inside`` are the models around."""
    for name, declared in node.get("properties", {}).items():
        field, models = _resolved(declared, root)
        own = f"{path}{name}"
        yield f"`{own}`", _kind(field), _needed(node, name), _cell(str(declared.get("description", "")))
        item, step = field, "."
        if "items" in field:
            item, more = _resolved(field["items"], root)
            models, step = (*models, *more), "[]."
        elif isinstance(field.get("additionalProperties"), Mapping):
            item, more = _resolved(field["additionalProperties"], root)
            models, step = (*models, *more), ".*."
        if not set(models) & set(inside):
            yield from _rows(item, root, f"{own}{step}", (*inside, *models))


def _resolved(node: Schema, root: Schema) -> tuple[Schema, tuple[str, ...]]:
    """Return what a field is, without "or null", and the models that it is by reference."""
    if "anyOf" in node:
        (node,) = (choice for choice in node["anyOf"] if choice != {"type": "null"})
    if "$ref" in node:
        model = str(node["$ref"]).rsplit("/", 1)[-1]
        return root["$defs"][model], (model,)
    return node, ()


def _kind(field: Schema) -> str:
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    named = field.get("type", "object")
    name = next(each for each in named if each != "null") if isinstance(named, list) else named
    words = "time" if field.get("format") == "date-time" else _WORDS.get(name, name)
    if "minimum" in field:
        words += f" ≥ {field['minimum']}"
    if "maximum" in field:
        words += f", ≤ {field['maximum']}"
    if "maxLength" in field:
        words += f", at most {field['maxLength']} characters"
    if field.get("minItems"):
        words += f", at least {field['minItems']}"
    return words


def _needed(node: Schema, name: str) -> str:
    if name in node.get("required", ()):
        return "required"
    choices = [choice.get("required", ()) for choice in node.get("anyOf", ())]
    if [name] in choices:
        return "required, or " + ", ".join(f"`{other}`" for (other,) in choices if other != name)
    return ""


def _cell(text: str) -> str:
    """Escape what Markdown would read as a column or as HTML."""
    escaped: Any = text.replace("|", "\\|").replace("<", "\\<")
    return str(escaped)
