"""Purchase orders to canonical events (EIP Message Translator).

What a PO is called and which dates count is in the RetailOps Interaction Guide for Dropship Integrations; it shows no
answer, so a record is read for what the later calls need, and for an address where there is one. A record that cannot
be read raises ``InvalidMessage``; ``to_letter`` keeps it as it came. Error texts name fields, never their values.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from hub.errors import NO_FACTS, ErrorFacts, InvalidMessage
from hub.messaging.message import Message
from hub.messaging.polling.poller import Item
from hub.models.events import Address, Event, OrderChanged, OrderCreated, OrderLine
from hub.models.input.search_limits import LONGEST_SEARCHED, too_long_to_search
from hub.models.input.validation import faults_of
from hub.models.types import OrderId, moment_of
from hub.partners.retailops.page import Unreadable, read_record, render
from hub.partners.retailops.wire import FetchedPurchaseOrder, LooseId

SOURCE = "retailops"
LETTER_TYPE = "retailops.po"
# Says which vendor account a raw PO belongs to.
ACCOUNT_HEADER = "x-hub-account"

# Other dates of RetailOps are ISO 8601 with Z, the older SDK counts seconds; the guide shows none of date_submit.
_DATE = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?: ?(?:Z|[+-]\d\d:?\d\d))?)?", re.IGNORECASE
)
_SECONDS = re.compile(r"\d{9,10}(?:\.\d{1,9})?")
# Seconds from 2000 to 2100: outside is a count of another unit, a compact date, or "never" spelt as 0.
_FIRST_SECOND, _LAST_SECOND = 946_684_800, 4_102_444_800

# Canonical field -> names of the sibling shipment API, in whose words an address would come.
_ADDRESS = (
    ("name", "addressee"),
    ("company", "company"),
    ("phone", "phone_number"),
    ("street1", "address1"),
    ("street2", "address2"),
    ("city", "city"),
    ("region", "state_name"),
    ("region_code", "state_abbr"),
    ("postal_code", "postal_code"),
    ("country", "country_name"),
)

M = TypeVar("M", bound=BaseModel)
Ordered = TypeVar("Ordered", bound=OrderCreated)


# --- reading a record ----------------------------------------------------------------------------------------


def parse_date_submit(value: object) -> datetime | None:
    """Read ``date_submit``: POs are acted on only from then on.

    Accepted are ISO 8601 with ``Z`` or an offset, the same without zone (read as UTC), ``YYYY-MM-DD HH:MM:SS``, a plain
    date (its first moment in UTC), and seconds since 1970 as number or text.

    Returns:
        The moment in UTC, or None for anything else.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return _from_seconds(float(value)) if math.isfinite(value) else None
    if not isinstance(value, str):
        return None
    text = value.strip()
    if _SECONDS.fullmatch(text):
        return _from_seconds(float(text))
    if not _DATE.fullmatch(text):
        return None
    try:
        moment = moment_of(text.upper().replace(" +", "+").replace(" -", "-").replace(" Z", "Z"))
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _from_seconds(seconds: float) -> datetime | None:
    if not _FIRST_SECOND <= seconds < _LAST_SECOND:
        return None
    return datetime.fromtimestamp(seconds, UTC)


class _Named(BaseModel):
    po: LooseId


def po_of(record: object) -> str | None:
    """Return the PO number of a record, if it has one that can be read; ids are compared as texts."""
    try:
        return _Named.model_validate(record).po
    except ValidationError:
        return None


def read_purchase_order(record: object) -> FetchedPurchaseOrder:
    """Read a PO with its lines; those of no units were taken off it, and are left out.

    Raises:
        InvalidMessage: a field that later calls need is missing or wrong; names it.
    """
    if isinstance(record, Unreadable):
        raise InvalidMessage(record.reason, code="unreadable")
    fetched = _checked(FetchedPurchaseOrder, record)
    ordered = tuple(item for item in fetched.items if item.quantity)
    if not ordered:
        raise InvalidMessage(
            "expected a line with at least 1 unit, got none: all were taken off", field="items.0.quantity"
        )
    purchase_order = fetched.model_copy(update={"items": ordered})
    uses = Counter(item.po_item_id for item in purchase_order.items)
    for position, item in enumerate(purchase_order.items):
        if uses[item.po_item_id] > 1:
            raise InvalidMessage(
                "expected an id that no other line has, got one twice", field=f"items.{position}.po_item_id"
            )
    return purchase_order


def line_hash(vendor_id: str, purchase_order: FetchedPurchaseOrder) -> str:
    """Return the same text for the same lines of a PO, in whatever order they come; it names a state of the PO."""
    lines = sorted((item.po_item_id, item.vpc, item.quantity) for item in purchase_order.items)
    digest = hashlib.sha256(orjson.dumps([vendor_id, purchase_order.po, lines]))
    return f"sha256:{digest.hexdigest()}"


# --- events --------------------------------------------------------------------------------------------------


def to_order_created(
    purchase_order: FetchedPurchaseOrder, vendor_id: str, date_submit: datetime
) -> Event[OrderCreated]:
    """Translate a PO that is new. Its event id is the PO's, whatever its lines.

    Raises:
        InvalidMessage: a field is wrong; names it.
    """
    data = _ordered(OrderCreated, purchase_order, vendor_id, date_submit)
    return created_again(data)


def created_again(details: OrderCreated) -> Event[OrderCreated]:
    """Return the ``order.created`` event of an order as it was recorded."""
    return Event(
        id=details.order_id,
        type="order.created",
        source=_source(details.source_account),
        subject=details.order_id,
        time=details.created_at,
        data=details,
    )


def to_order_changed(
    purchase_order: FetchedPurchaseOrder,
    vendor_id: str,
    date_submit: datetime,
    *,
    seen_at: datetime,
    again: int = 0,
) -> Event[OrderChanged]:
    """Translate a PO whose lines differ from those of before.

    Args:
        purchase_order: as it is now.
        vendor_id: the account.
        date_submit: of the PO.
        seen_at: when the change was noticed; RetailOps tells no time of it.
        again: counts on when the lines have returned to what they were before, since that is another change.

    Raises:
        InvalidMessage: a field is wrong; names it.
    """
    data = _ordered(OrderChanged, purchase_order, vendor_id, date_submit)
    return Event(
        id=f"{data.order_id}:{data.source_event_id}" + (f":{again}" if again else ""),
        type="order.changed",
        source=_source(vendor_id),
        subject=data.order_id,
        time=seen_at,
        data=data,
    )


# --- letters -------------------------------------------------------------------------------------------------


def to_letter(record: object, vendor_id: str, reason: str, facts: ErrorFacts = NO_FACTS) -> Item:
    """Make a letter of a record that cannot be read: one for each reason and content, however often it is fetched."""
    raw = render(record)
    po = po_of(record)
    what = reason.encode() + _content_of(record) if po is not None else raw
    key = f"{vendor_id}:{po or ''}:letter:{hashlib.sha256(what).hexdigest()[:32]}"
    letter = Message(
        body=raw,
        content_type="application/json",
        type=LETTER_TYPE,
        message_id=f"{SOURCE}:{key}",
        headers={ACCOUNT_HEADER: vendor_id},
    )
    return Item(key, letter=letter, reason=reason, facts=facts)


def raw_of(record: object, vendor_id: str) -> Message:
    """Return the message that holds a record as it came, for one that was read and could not be announced."""
    letter = to_letter(record, vendor_id, "").letter
    assert letter is not None
    return letter


def _content_of(record: object) -> bytes:
    """Return what of a record becomes an order: a count of views or a time of reading makes no new letter."""
    if not isinstance(record, dict):
        return render(record)
    extra = (
        "date_submit",
        "items",
        "ship_address",
        "ship_service",
        "order",
        *(alias for _, alias in _ADDRESS),
    )
    return repr([(name, record.get(name)) for name in extra]).encode("utf-8", errors="backslashreplace")


def record_from_letter(body: bytes) -> object:
    """Return the raw record of a letter.

    Raises:
        InvalidMessage: it is no JSON.
    """
    record = read_record(body)
    if isinstance(record, Unreadable):
        raise InvalidMessage(f"expected a purchase order as JSON, got no JSON ({record.reason})")
    return record


# --- parts ---------------------------------------------------------------------------------------------------


def _checked(model: type[M], values: object) -> M:
    """Validate; a fault names the field and what was expected, not the value."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = faults_of(error)[0]
        raise InvalidMessage(first.message, field=first.field, code=first.kind) from None


def _ordered(
    model: type[Ordered], purchase_order: FetchedPurchaseOrder, vendor_id: str, date_submit: datetime
) -> Ordered:
    """Return the payload of what is ordered, with texts that the state store can hold."""
    data = _checked(model, _details(purchase_order, vendor_id, date_submit))
    if field := too_long_to_search(data):
        raise InvalidMessage(f"expected at most {LONGEST_SEARCHED} bytes, got more", field=field)
    return data


def _source(vendor_id: str) -> str:
    return f"/{SOURCE}/vendors/{vendor_id}"


def _details(
    purchase_order: FetchedPurchaseOrder, vendor_id: str, date_submit: datetime
) -> dict[str, object]:
    extra = purchase_order.model_extra or {}
    return {
        "order_id": str(OrderId(SOURCE, vendor_id, purchase_order.po)),
        "source": SOURCE,
        "source_account": vendor_id,
        "source_order_id": purchase_order.po,
        "source_event_id": line_hash(vendor_id, purchase_order),
        "order_number": purchase_order.po,
        "po_reference": purchase_order.po,
        "created_at": date_submit,
        "submit_after": date_submit,
        "shipping_method_code": _plain(_object(extra, "ship_service").get("name")),
        "ship_to": _address(extra),
        "notes": tuple(note for note in (_plain(_object(extra, "order").get("gift_message")),) if note),
        "lines": tuple(
            OrderLine(
                line_id=item.po_item_id, source_item_id=item.po_item_id, sku=item.vpc, quantity=item.quantity
            )
            for item in purchase_order.items
        ),
    }


def _address(extra: Mapping[str, Any]) -> Address | None:
    """The guide promises no address; where the sibling API gives one, it is in ``ship_address``."""
    place = _object(extra, "ship_address") or extra
    found = {field: text for field, alias in _ADDRESS if (text := _plain(place.get(alias))) is not None}
    return _checked(Address, found) if found else None


def _object(extra: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = extra.get(name)
    return value if isinstance(value, dict) else {}


def _plain(value: object) -> str | None:
    """A text or number that says something."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return str(value).strip() or None
