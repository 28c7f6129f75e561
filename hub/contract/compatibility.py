"""What a new version of an event's schema takes away from those who rely on the published one.

Two promises meet in one exchange. Whoever writes an event may go on writing what was valid, and so may letters that
wait to be replayed: nothing is **narrowed**. Whoever reads an event of ``hub.orders`` gets what was promised: nothing
is **widened** there either. What is left is to add fields that are optional.

Pure functions over the schemas of ``hub.contract.json_schema``. They know the keywords that are generated; any other keyword
that appears, changes or goes is a break of its own, so that a new one cannot pass unseen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hub.models.events import ORDERS

# The bound that admits less when it grows, and when it shrinks.
_LOWEST = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_HIGHEST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
# Keywords that are walked into or compared by themselves below.
_STRUCTURE = ("type", "enum", "properties", "required", "items", "additionalProperties")
# Keywords that admit and refuse nothing.
_NOTES = ("$schema", "$id", "$defs", "title", "description", "examples", "deprecated", "$comment")
_TYPES = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Break:
    """One thing that was promised and does not hold any more; ``path`` names the field, empty for the whole event."""

    type: str
    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.type}: {self.path or 'the whole event'}: {self.what}"


def breaks(published: Mapping[str, Schema], generated: Mapping[str, Schema]) -> list[Break]:
    """Return every break between two sets of data schemas by event type; a new event type is none."""
    found: list[Break] = []
    for name, old in published.items():
        new = generated.get(name)
        if new is None:
            found.append(Break(name, "", "the event type was removed"))
            continue
        readers = old.get("x-amqp", {}).get("exchange") == ORDERS
        found += [Break(name, path, what) for path, what in _Comparison(old, new, readers=readers).run()]
    return found


class _Comparison:
    """Walks two schemas at once; ``readers`` says that others read what the schema describes."""

    def __init__(self, old: Schema, new: Schema, *, readers: bool) -> None:
        self._old, self._new, self._readers = old, new, readers
        self._walked: set[tuple[str, str]] = set()

    def run(self) -> Iterator[tuple[str, str]]:
        return self._nodes(self._old, self._new, "")

    def _nodes(self, old: Schema, new: Schema, path: str) -> Iterator[tuple[str, str]]:
        pair = (old.get("$ref", ""), new.get("$ref", ""))
        if all(pair):
            # A model inside itself would be walked for ever.
            if pair in self._walked:
                return
            self._walked.add(pair)
            yield from self._nodes(_resolved(old, self._old), _resolved(new, self._new), path)
            self._walked.discard(pair)
            return
        old, new = _plain(old, self._old), _plain(new, self._new)
        yield from self._types(old, new, path)
        yield from self._limits(old, new, path)
        yield from self._rules(old, new, path)
        yield from self._fields(old, new, path)
        for keyword, step in (("items", "[]"), ("additionalProperties", ".*")):
            if isinstance(old.get(keyword), Mapping) and isinstance(new.get(keyword), Mapping):
                yield from self._nodes(old[keyword], new[keyword], path + step)
            elif old.get(keyword, True) != new.get(keyword, True):
                yield path, f"{keyword} was {old.get(keyword, True)}, is now {new.get(keyword, True)}"

    def _types(self, old: Schema, new: Schema, path: str) -> Iterator[tuple[str, str]]:
        before, now = _types(old), _types(new)
        if gone := before - now:
            yield path, f"type narrowed: {_list(gone)} is not taken any more"
        if self._readers and (added := now - before):
            yield path, f"type widened: it may now be {_list(added)}, which readers do not expect"
        values, values_now = old.get("enum"), new.get("enum")
        if values_now is not None and (values is None or set(values) - set(values_now)):
            lost = "any other value" if values is None else _list(set(values) - set(values_now))
            yield path, f"values narrowed: {lost} is not taken any more"
        if self._readers and values is not None and (values_now is None or set(values_now) - set(values)):
            more = "any value" if values_now is None else _list(set(values_now) - set(values))
            yield path, f"values widened: it may now be {more}, which readers do not expect"

    def _limits(self, old: Schema, new: Schema, path: str) -> Iterator[tuple[str, str]]:
        for keywords, sign in ((_LOWEST, 1), (_HIGHEST, -1)):
            for keyword in keywords:
                before, now = old.get(keyword), new.get(keyword)
                if before == now:
                    continue
                narrower = before is None or (now is not None and (now - before) * sign > 0)
                if narrower:
                    yield path, f"limit narrowed: {keyword} was {_absent(before)}, is now {now}"
                elif self._readers:
                    yield path, f"limit widened: {keyword} was {before}, is now {_absent(now)}"

    def _rules(self, old: Schema, new: Schema, path: str) -> Iterator[tuple[str, str]]:
        """Everything else is compared as it stands: which of two patterns admits more, nobody can say."""
        known = (*_LOWEST, *_HIGHEST, *_STRUCTURE, *_NOTES)
        for keyword in sorted((old.keys() | new.keys()) - set(known)):
            before, now = old.get(keyword), new.get(keyword)
            if before == now or (keyword == "default" and before is None):
                continue
            if now is None and not self._readers and keyword not in ("default", "x-amqp"):
                continue  # A rule less: whoever writes may do more than before.
            yield path, f"rule changed: {keyword} was {_absent(before)}, is now {_absent(now)}"

    def _fields(self, old: Schema, new: Schema, path: str) -> Iterator[tuple[str, str]]:
        before, now = old.get("properties", {}), new.get("properties", {})
        required, required_now = set(old.get("required", ())), set(new.get("required", ()))
        for name in before:
            if name in now:
                yield from self._nodes(before[name], now[name], _joined(path, name))
            else:
                yield _joined(path, name), "field removed"
        for name in sorted(required_now - required):
            # What is always written because it has a default may be missing in what was written earlier.
            if "default" not in now.get(name, {}):
                kind = "field became required" if name in before else "new field is required"
                yield _joined(path, name), f"{kind}: what was valid without it is refused"
        if self._readers:
            for name in sorted((required - required_now) & now.keys()):
                yield _joined(path, name), "field is not promised any more: readers may miss it"


def _plain(node: Schema, root: Schema) -> Schema:
    """Resolve a reference, and write "this or null" as a type, in which form it can be compared."""
    node = _resolved(node, root)
    match node.get("anyOf"):
        case [{"type": "null"}, inner] | [inner, {"type": "null"}]:
            inner = _resolved(inner, root)
            rest = {key: value for key, value in node.items() if key != "anyOf"}
            return {**inner, **rest, "type": sorted({*_types(inner), "null"})}
    return node


def _resolved(node: Schema, root: Schema) -> Schema:
    if "$ref" not in node:
        return node
    beside = {key: value for key, value in node.items() if key != "$ref"}
    return {**root["$defs"][node["$ref"].rsplit("/", 1)[-1]], **beside}


def _types(node: Schema) -> frozenset[str]:
    named = node.get("type")
    if named is None:
        return _TYPES
    types = frozenset([named] if isinstance(named, str) else named)
    return types | {"integer"} if "number" in types else types


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _absent(value: Any) -> Any:
    return "absent" if value is None else value


def _list(values: Any) -> str:
    return ", ".join(sorted(str(value) for value in values))
