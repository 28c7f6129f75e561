"""From canonical events to the four webhooks (EIP Message Translator): pure functions, no I/O.

``webhooks`` is the way in; ``consumers/webhooks/deliver_webhooks.py`` calls it. A webhook is computed from the order as it
was announced and from ``Applied``, the record of what this one event did, so it reads the same however late it is
computed. Values come from the event, else from the order, else from the client's ``defaults``; what none of them
gives is a fault that names where it could come from, and never an invented value.

Sources: "Optoro Drop Ship webhooks v1.0.0" and "Optoro Disposition Update".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import ValidationError

from hub.config.webhooks import WebhookClient
from hub.errors import InvalidMessage
from hub.models.effect_key import escaped
from hub.models.events import AnyEvent, OrderCancelled, OrderShipped, UnitDispositionChanged
from hub.models.frozen import value
from hub.models.order import Applied, Order, Package
from hub.partners.optoro import wire
from hub.partners.optoro.contents import cancelled_order, disposition_update, partly_cancelled_order, shipment
from hub.partners.optoro.sources import where_from
from hub.state.event_identity import content_of


class Kind(StrEnum):
    """The four webhooks."""

    CONFIRMATION = "confirmation"
    CANCELLATION = "cancellation"
    PARTIAL_CANCELLATION = "partial_cancellation"
    DISPOSITION = "disposition"


MODELS: Mapping[Kind, type[wire.Closed]] = {
    Kind.CONFIRMATION: wire.DropShipmentConfirmation,
    Kind.CANCELLATION: wire.DropShipmentCancellation,
    Kind.PARTIAL_CANCELLATION: wire.DropShipmentPartialCancellation,
    Kind.DISPOSITION: wire.DispositionUpdate,
}


@value(frozen=True, slots=True)
class Webhook:
    """One webhook ready to be sent: every attempt posts exactly these bytes, under this effect key."""

    kind: Kind
    url: str
    body: bytes
    effect_key: str
    order_id: str | None
    """The hub's key of the order; None for a disposition."""
    event_id: str
    key_before: str = ""
    """What an older release kept the effect under, where that is another key."""
    content: str | None = None
    """A hash of what the event says, where it is about no order: under its key, nothing else is taken for the same."""


@value(frozen=True, slots=True)
class Draft:
    """The values of one webhook before they are checked; None stands for what nobody knows."""

    kind: Kind
    content: Mapping[str, Any]
    package: Package | None = None
    position: int = 0
    """Of the package in the event, counted from 0."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A field without a good value: its path in the body, and where a missing value or what is wrong."""

    path: str
    remedy: str = ""
    wrong: str = ""


class IncompleteWebhooks(InvalidMessage):
    """Some webhooks of an event lack required values; ``complete`` are those that can be sent nevertheless."""

    def __init__(self, faults: Sequence[Fault], complete: tuple[Webhook, ...]) -> None:
        # The paths go first: a long reason is cut at its end where it becomes a header.
        missing = ", ".join(_each_once(fault.path for fault in faults if fault.remedy))
        wrong = [f"{fault.path}: {fault.wrong}" for fault in faults if fault.wrong]
        remedies = "; ".join(_each_once(fault.remedy for fault in faults if fault.remedy))
        texts = [*wrong, f"no value for {missing}; give {remedies}"] if missing else wrong
        super().__init__("; ".join(texts))
        self.field = faults[0].path
        self.complete = complete


def url_of(client: WebhookClient, kind: Kind) -> str | None:
    """Return the address a client has configured for a kind of webhook; None: it does not want that kind."""
    url: str | None = getattr(client, f"{kind}_url")
    return url


def webhooks(
    event: AnyEvent, order: Order | None, applied: Applied | None, client: WebhookClient
) -> tuple[Webhook, ...]:
    """Return the webhooks an event makes for a client, encoded; a kind without an address makes none.

    Args:
        event: ``order.shipped``, ``order.cancelled`` or ``unit.disposition_changed``; others make no webhook.
        order: the event's order; None for a disposition.
        applied: what this event did to the order; None for a disposition.
        client: the receiver's settings.

    Raises:
        IncompleteWebhooks: a required value is missing or out of range; the message names the path of every such
            field and where its value could come from, never a value.
    """
    complete: list[Webhook] = []
    faults: list[Fault] = []
    for draft in _drafts(event, order, applied, client):
        url = url_of(client, draft.kind)
        if url is None:
            continue
        try:
            model = MODELS[draft.kind].model_validate(_known(draft.content))
        except ValidationError as error:
            faults += _faults(error, draft)
            continue
        key, before = effect_keys(client, draft.kind, event, draft.package)
        # What is said of an order is held against what was applied to it before.
        content = None if event.corrected or event.order_id else content_of(event)
        body = wire.encode(model)
        complete.append(Webhook(draft.kind, url, body, key, event.order_id, event.id, before, content))
    if faults:
        raise IncompleteWebhooks(faults, tuple(complete))
    return tuple(complete)


def effect_keys(
    client: WebhookClient, kind: Kind, event: AnyEvent, package: Package | None = None
) -> tuple[str, str]:
    """Name the effect of sending a webhook: by client, kind and event, and by parcel for confirmations.

    A parcel's id is the last part and has no colon, so that no event id that ends like one makes the same key. The event id
    stands for its order: it was applied to no other.

    Returns:
        The key, and the one of an older release, which escaped nothing, if it is another; else an empty text.
    """
    key = f"webhook:{client.name}:{kind}:{event.id}"
    if package is None:
        return key, ""
    before = f"{key}:{package.package_id}"
    key = f"{key}:{escaped(package.package_id)}"
    return key, "" if key == before else before


def _drafts(
    event: AnyEvent, order: Order | None, applied: Applied | None, client: WebhookClient
) -> tuple[Draft, ...]:
    match event.data:
        case UnitDispositionChanged():
            return (disposition(event, client),)
        case OrderShipped() if order and applied:
            return confirmations(order, applied, client)
        case OrderCancelled() if order and applied and applied.cancellations:
            if applied.whole_order_cancelled:
                return (cancellation(order, applied, client, event),)
            return (partial_cancellation(order, applied, client),)
    return ()


def confirmations(order: Order, applied: Applied, client: WebhookClient) -> tuple[Draft, ...]:
    """Return a confirmation for each parcel of the event: the document has room for one tracking number."""
    return tuple(
        Draft(Kind.CONFIRMATION, {"shipment": shipment(order.details, package, client)}, package, position)
        for position, package in enumerate(applied.packages)
    )


def cancellation(order: Order, applied: Applied, client: WebhookClient, event: AnyEvent) -> Draft:
    """Return the cancellation of a whole order."""
    content = cancelled_order(order.details, applied, event.data, client, at=event.time)
    return Draft(Kind.CANCELLATION, {"order": content})


def partial_cancellation(order: Order, applied: Applied, client: WebhookClient) -> Draft:
    """Return what this event cancelled of an order of which something remains."""
    return Draft(Kind.PARTIAL_CANCELLATION, {"order": partly_cancelled_order(order.details, applied, client)})


def disposition(event: AnyEvent, client: WebhookClient) -> Draft:
    """Return the update about one unit."""
    return Draft(Kind.DISPOSITION, disposition_update(event.data, client, at=event.time))


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is None or an empty text, at every depth."""
    return {
        key: _known_in(value) if isinstance(value, dict | list) else value
        for key, value in values.items()
        if value is not None and value != ""
    }


def _known_in(several: dict[str, Any] | list[Any]) -> Any:
    return _known(several) if isinstance(several, dict) else [_known(each) for each in several]


def _faults(error: ValidationError, draft: Draft) -> list[Fault]:
    """Return every field that is missing or out of range; one that several lines lack is named once, with a ``*``."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    lacking = Counter(_names(item["loc"]) for item in found)
    return [
        Fault(path, remedy=where_from(item["loc"], draft.position))
        if item["type"] == "missing"
        else Fault(path, wrong=item["msg"])
        for item in found
        for path in [_path(item["loc"], several=lacking[_names(item["loc"])] > 1)]
    ]


def _names(location: tuple[int | str, ...]) -> tuple[str, ...]:
    return tuple(part for part in location if isinstance(part, str))


def _path(location: tuple[int | str, ...], *, several: bool) -> str:
    return ".".join("*" if several and isinstance(part, int) else str(part) for part in location)


def _each_once(texts: Iterable[str]) -> Iterable[str]:
    return dict.fromkeys(texts)
