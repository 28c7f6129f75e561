"""Feed entries to canonical events (EIP Message Translator).

What iQmetrix calls things is in the Supplier Orders reference, 25-01-2016. Ids are opaque strings, since its samples
hold malformed UUIDs. An entry that breaks the contract raises ``InvalidMessage``; ``to_item`` makes a letter of it,
with the raw entry as its body. Error texts name fields, never their values where those may be personal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import TypeVar

from pydantic import ValidationError

from hub.config.settings import FeedLimits, Iqmetrix
from hub.errors import ErrorFacts, InvalidMessage
from hub.messaging.message import Message
from hub.messaging.polling.poller import Item
from hub.models.events import Event, OrderCreated, OrderPayload, OrderStatusUpdated, Payload
from hub.models.input.quoting import shown_name
from hub.models.input.search_limits import LONGEST_SEARCHED, too_long_to_search
from hub.models.input.validation import faults_of
from hub.models.types import LONGEST_ID, OrderId, same_guid
from hub.partners.iqmetrix.feed import Content, Entry, Malformed, content_of, parse_entry
from hub.partners.iqmetrix.texts import boolean, cents, guid, integer, required
from hub.partners.iqmetrix.wire import Status

SOURCE = "iqmetrix"
LETTER_TYPE = "iqmetrix.entry"
_CONTENT_TYPE = "application/atom+xml;type=entry"
# Lines of one order, which is validated at one go.
_MOST_LINES = 5000
# Says which account a raw entry belongs to.
ACCOUNT_HEADER = "x-hub-account"

# What a part of a payload is validated from; the whole payload is validated at once.
Fields = dict[str, object]

P = TypeVar("P", bound=Payload)
Q = TypeVar("Q", bound=OrderPayload)


def to_order_created(entry: Entry, account: str, currency: str | None) -> Event[OrderCreated]:
    """Translate an ``order-created`` entry.

    Args:
        entry: from the feed of ``account``.
        account: the supplier id; an order of another supplier is refused.
        currency: of the account, since the feed tells none.

    Raises:
        InvalidMessage: a required field is missing or wrong; names it.
    """
    content = content_of(entry.content)
    order_id = _order_id(content.texts, account)
    seller = content.part("seller").texts
    address = content.part("shipping-address").texts
    customer = content.part("shipping-customer").texts
    data = _build(
        OrderCreated,
        order_id=str(order_id),
        source=SOURCE,
        source_account=account,
        source_order_id=order_id.source_order_id,
        source_event_id=entry.id,
        order_number=seller.get("printable-id"),
        po_reference=seller.get("po-reference"),
        seller={"company_id": seller.get("company-id"), "location_id": seller.get("location-id")},
        created_at=entry.time,
        # The reference tells store and customer addresses apart by this flag; the address type may be nil.
        ship_to_store=boolean("ship-to-store", content.texts.get("ship-to-store", "false")),
        shipping_method_code=content.texts.get("shipping-method"),
        ship_to=_address(address, customer),
        customer=_customer(customer),
        notes=tuple(notes for notes in (address.get("notes"), customer.get("notes")) if notes),
        currency=currency,
        lines=_lines(content, order_id.source_order_id),
    )
    if field := too_long_to_search(data):
        raise InvalidMessage(f"expected at most {LONGEST_SEARCHED} bytes, got more", field=field)
    return _event(entry, account, "order.created", data)


def to_status_updated(entry: Entry, account: str) -> Event[OrderStatusUpdated]:
    """Translate an ``order-status-updated`` entry: iQmetrix shows that a supplier's update was applied.

    Raises:
        InvalidMessage: a required field is missing or wrong; names it.
    """
    content = content_of(entry.content)
    order_id = _order_id(content.texts, account)
    items = content.members("items", "item-information")
    lines = [_status_line(item.texts, position) for position, item in enumerate(items)]
    data = _build(OrderStatusUpdated, order_id=str(order_id), lines=lines)
    return _event(entry, account, "order.status_updated", data)


def to_event(entry: Entry, settings: Iqmetrix) -> Event[OrderCreated] | Event[OrderStatusUpdated]:
    """Translate an entry of either kind.

    Raises:
        InvalidMessage: of another kind, or a field is missing or wrong.
    """
    match entry.kind:
        case "order-created":
            return to_order_created(entry, settings.account, settings.currency)
        case "order-status-updated":
            return to_status_updated(entry, settings.account)
        case kind:
            raise InvalidMessage(
                f"expected order-created or order-status-updated, got {shown_name(kind)}", field="content"
            )


_MALFORMED = ErrorFacts(code="malformed_entry")
_UNTRANSLATABLE = ErrorFacts(code="untranslatable_entry")


def to_item(entry: Entry | Malformed, settings: Iqmetrix) -> Item:
    """Make of an entry what a poll gives: an event, a letter, or (older than the start) a key to remember."""
    if isinstance(entry, Malformed):
        letter = _letter(entry.key, entry.raw, settings.account)
        return Item(entry.key, letter=letter, reason=entry.reason, facts=_MALFORMED)
    if settings.start_from is not None and entry.updated < settings.start_from:
        return Item(entry.key, publish=False)
    try:
        raw = partial(_raw, entry, settings.account)
        return Item(entry.key, event=to_event(entry, settings), raw=raw)
    except InvalidMessage as invalid:
        reason, facts = str(invalid), invalid.facts
    except Exception as error:  # an entry must not stop its page, whatever it holds
        reason, facts = (
            f"expected an entry that can be translated, got {type(error).__name__}",
            _UNTRANSLATABLE,
        )
    letter = _letter(entry.key, entry.raw, settings.account)
    return Item(entry.key, letter=letter, reason=reason, facts=facts)


def entry_from_letter(body: bytes, limits: FeedLimits) -> Entry:
    """Read the raw entry of a letter again.

    Raises:
        InvalidMessage: it is still no readable entry.
    """
    return parse_entry(body, limits)


def _raw(entry: Entry, account: str) -> Message:
    return _letter(entry.key, entry.raw, account)


def _letter(key: str, raw: bytes, account: str) -> Message:
    return Message(
        body=raw,
        content_type=_CONTENT_TYPE,
        type=LETTER_TYPE,
        message_id=_event_id(account, key),
        headers={ACCOUNT_HEADER: account},
    )


def _event_id(account: str, entry_id: str) -> str:
    return f"{SOURCE}:{account}:{entry_id}"


def _event(entry: Entry, account: str, kind: str, data: Q) -> Event[Q]:
    event_id = _event_id(account, entry.id)
    if len(event_id) > LONGEST_ID:
        raise InvalidMessage(f"expected at most {LONGEST_ID} characters, got {len(event_id)}", field="id")
    return Event(
        id=event_id,
        type=kind,
        source=f"/{SOURCE}/suppliers/{account}",
        subject=data.order_id,
        time=entry.time,
        data=data,
    )


def _build(model: type[P], **values: object) -> P:
    """Build a payload; a fault names the field and what was expected, not the value."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = faults_of(error)[0]
        raise InvalidMessage(first.message, field=first.field, code=first.kind) from None


def _order_id(fields: Mapping[str, str], account: str) -> OrderId:
    supplier = fields.get("supplier-id")
    if supplier != account:
        raise InvalidMessage(
            f"expected {account}, got {'another' if supplier else 'none'}", field="supplier-id"
        )
    return OrderId(SOURCE, account, required(fields, "order-id"))


def _lines(content: Content, order_id: str) -> list[Fields]:
    items = [item.texts for item in content.members("items", "order-item")]
    if not items:
        raise InvalidMessage("expected at least one order-item, got none", field="items")
    if len(items) > _MOST_LINES:
        raise InvalidMessage(f"expected at most {_MOST_LINES} order-items, got {len(items)}", field="items")
    uses = Counter(same_guid(item.get("catalog-id", "")) for item in items)
    return [_line(item, position, order_id, uses) for position, item in enumerate(items)]


def _line(item: Mapping[str, str], position: int, order_id: str, uses: Mapping[str, int]) -> Fields:
    """A line has no id of its own: the catalog item is unique in an order, else the position in the fixed entry."""
    path = f"items.{position}."
    catalog_id = guid(item.get("catalog-id"))
    quantity = integer(path + "quantity", required(item, "quantity", path))
    if quantity < 1:
        raise InvalidMessage(f"expected at least 1, got {quantity}", field=path + "quantity")
    price = cents(path, item.get("selling-price"))
    return {
        "line_id": catalog_id
        if catalog_id and uses[same_guid(catalog_id)] == 1
        else f"{order_id}:{position + 1}",
        "sku": required(item, "sku", path),
        "catalog_id": catalog_id,
        "description": item.get("description"),
        "quantity": quantity,
        "unit_price_cents": price,
        "line_total_cents": None if price is None else price * quantity,
    }


def _address(address: Mapping[str, str], customer: Mapping[str, str]) -> Fields:
    street1, street2 = _streets(address)
    names = (customer.get(name) for name in ("primary-name", "middle-name", "family-name"))
    return {
        "name": address.get("attention-to") or " ".join(name for name in names if name) or None,
        "company": customer.get("primary-name") if customer.get("type") in ("Company", "3") else None,
        # The guide speaks of a phone of the customer, the reference of one of the address.
        "phone": address.get("phone") or customer.get("phone"),
        "street1": street1,
        "street2": street2,
        "city": address.get("locality"),
        "region": address.get("region"),
        "region_code": address.get("region-code"),
        "postal_code": address.get("postal-code"),
        "country": address.get("country"),
        "country_code": address.get("country-code"),
        "address_type": address.get("type"),
    }


def _streets(address: Mapping[str, str]) -> tuple[str | None, str | None]:
    """The canonical address has no field for a P.O. box: it goes behind the streets."""
    street1, street2, box = (
        address.get(name) for name in ("street-address-1", "street-address-2", "post-office-box-number")
    )
    if box is None:
        return street1, street2
    box = box if "box" in box.lower() else f"P.O. Box {box}"
    if street1 is None:
        return box, street2
    return street1, f"{street2}, {box}" if street2 else box


def _customer(customer: Mapping[str, str]) -> Fields:
    return {
        "id": guid(customer.get("customer-id")),
        "first_name": customer.get("primary-name"),
        "middle_name": customer.get("middle-name"),
        "last_name": customer.get("family-name"),
        "title": customer.get("title"),
        "alternate_name": customer.get("alternate-name"),
    }


def _status_line(item: Mapping[str, str], position: int) -> Fields:
    path = f"items.{position}."
    quantity = item.get("quantity")
    return {
        "sku": item.get("sku"),
        "catalog_id": guid(item.get("catalog-id")),
        "status": _status_name(required(item, "status", path)),
        "quantity": None if quantity is None else integer(path + "quantity", quantity),
        "tracking_number": item.get("tracking-info"),
        "carrier": item.get("shipping-provider"),
        "message": item.get("message"),
    }


def _status_name(text: str) -> str:
    """Numbers become names; a name outside the list (samples hold ``Exception``) is passed on as it is."""
    try:
        return Status.read(text).value
    except ValueError:
        return text
