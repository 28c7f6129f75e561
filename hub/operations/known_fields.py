"""Fields whose values an operator may see: those of the hub's events and of the partners' documents.

Derived from the models; left out are fields about persons (``hub.observability.redaction``) and fields that hold prose.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any, get_args

from pydantic import BaseModel

from hub.models.events import EVENT_TYPES
from hub.observability.redaction import is_personal
from hub.partners.iqmetrix import wire as iqmetrix
from hub.partners.optoro import wire as optoro
from hub.partners.retailops import wire as retailops

# People write sentences here.
_PROSE = frozenset(
    {
        "reason", "rejectreason", "message", "comments", "title", "description", "info", "subject", "statusmessage",
    }
)  # fmt: skip
_ENVELOPE = (
    "specversion", "id", "type", "source", "time", "datacontenttype", "data", "traceparent", "tracestate",
)  # fmt: skip
# iQmetrix Supplier Orders reference, 25-01-2016; RFC 4287.
_FEED = (
    "action", "catalog-id", "company-id", "content", "country", "country-code", "customer-id", "entry", "feed", "id",
    "item-information", "items", "location-id", "order-created", "order-id", "order-item", "order-status-updated",
    "po-reference", "printable-id", "published", "quantity", "region", "region-code", "seller", "selling-price",
    "ship-to-store", "shipping-method", "shipping-provider", "sku", "status", "supplier-id", "type", "updated", "version",
)  # fmt: skip
# What brokers write of a death.
_BROKER = ("count", "exchange", "queue", "routing-keys", "time", "original-expiration")
_PUNCTUATION = re.compile(r"[^a-z0-9]")
_IDS = (
    "id",
    "ids",
    "identifier",
    "number",
    "sku",
    "upc",
    "vpc",
    "po",
    "lp",
    "reference",
    "source",
    "channel",
)


def is_known(name: str) -> bool:
    """Return whether values of a field of this name may be shown."""
    return _plain(name) in _known()


def is_id(name: str) -> bool:
    """Return whether a field holds ids, which have a form of their own."""
    return _plain(name).endswith(_IDS)


@cache
def _known() -> frozenset[str]:
    models: list[type[BaseModel]] = [kind.payload for kind in EVENT_TYPES.values()]
    models += [model for module in (iqmetrix, optoro, retailops) for model in _models_in(module)]
    seen: set[type[BaseModel]] = set()
    names = {name for model in models for name in _names(model, seen)}
    names |= {*_ENVELOPE, *_FEED, *_BROKER}
    return frozenset(_plain(name) for name in names if not is_personal(name)) - _PROSE


def _models_in(module: ModuleType) -> Iterator[type[BaseModel]]:
    for found in vars(module).values():
        if isinstance(found, type) and issubclass(found, BaseModel):
            yield found


def _names(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[str]:
    if model in seen:
        return
    seen.add(model)
    for name, field in model.model_fields.items():
        yield name
        yield from (alias for alias in (field.alias, field.validation_alias) if isinstance(alias, str))
        for part in _parts(field.annotation):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from _names(part, seen)


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for inner in get_args(annotation):
        yield from _parts(inner)


def _plain(name: str) -> str:
    return _PUNCTUATION.sub("", name.lower())
