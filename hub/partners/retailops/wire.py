"""RetailOps' own words: closed models of what we send, lenient readers of what comes.

Field names and types of requests are those of the samples in the RetailOps Interaction Guide for Dropship
Integrations. No answer but a few fields is published, and types are loose there (numbers as texts, flags as 0 and 1),
so answers are read for what is needed, and what is not known stays as it came.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, StrictInt, StrictStr

from hub.models.input.exact_json import Inexact
from hub.models.types import Text
from hub.partners.numbers import whole_number
from hub.partners.retailops.page import read_document

# Beyond 18 digits a number is no id that every JSON reader keeps.
_LOOKS_LIKE_AN_INTEGER = re.compile(r"0|[1-9][0-9]{0,17}")
# An event id of PO and line hash has to fit in the 255 bytes of an AMQP message id.
_LONGEST_ID = 100

# Lines of one PO; each is read with care, and all of them in one piece.
MOST_LINES = 1000


# --- what we send --------------------------------------------------------------------------------------------


def _as_id(value: object) -> object:
    """An id as the guide's samples send it: an integer when it looks like one."""
    return int(value) if isinstance(value, str) and _LOOKS_LIKE_AN_INTEGER.fullmatch(value) else value


def _in_seconds(moment: datetime) -> str:
    """The form of the guide, ``2015-07-02T14:47:47Z``: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


ItemId = Annotated[StrictInt | StrictStr, BeforeValidator(_as_id)]
Units = Annotated[int, Field(strict=True, ge=1)]
EstimatedShipDate = Annotated[datetime, PlainSerializer(_in_seconds, return_type=str)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    def encode(self) -> bytes:
        """Render as JSON."""
        return orjson.dumps(self.model_dump(mode="json"))


class Fetch(_Body):
    """Asks for a page of POs: ``start`` is the offset of a row, ``status`` one name or a list of them."""

    vendor_id: StrictStr
    start: Annotated[int, Field(ge=0)]
    limit: Annotated[int, Field(ge=1)]
    status: StrictStr | tuple[StrictStr, ...]
    with_items: bool = True


class PurchaseOrderItem(_Body):
    """One line of a PO, by its id, and how many units."""

    po_item_id: ItemId
    quantity: Units


class PurchaseOrderMark(_Body):
    """One PO to mark as submitted or accepted, with all its lines."""

    po: StrictStr
    items: tuple[PurchaseOrderItem, ...]


class PurchaseOrderDate(_Body):
    """When lines of one PO are expected to leave."""

    po: StrictStr
    estimated_ship_date: EstimatedShipDate
    items: tuple[PurchaseOrderItem, ...]


class Marks(_Body):
    """The POs of one MarkSubmitted or MarkAccepted call."""

    records: tuple[PurchaseOrderMark, ...]


class Dates(_Body):
    """The POs of one UpdateEstShipDate call."""

    records: tuple[PurchaseOrderDate, ...]


class PackageItem(_Body):
    """Units in a package: by product code, not by line."""

    vpc: StrictStr
    quantity: Units


class Package(_Body):
    """One parcel; ``unit_count`` is the sum of its quantities, ``tracking_number`` text even where it looks like a number."""

    ship_class_id: StrictInt
    tracking_number: StrictStr
    unit_count: Units
    items: tuple[PackageItem, ...]


class Complete(_Body):
    """One PO with all its parcels; there is one such call per PO."""

    po: StrictStr
    packages: tuple[Package, ...]


class AllCarrierClasses(_Body):
    """Asks for all carrier classes."""

    all: StrictInt = 1


class ExternalSku(_Body):
    """The stock of one product code."""

    vendor_id: StrictStr
    vpc: StrictStr
    quantity: Annotated[int, Field(strict=True, ge=0)]


class ExternalSkus(_Body):
    """The stock counts of one ExternalSku.Update call."""

    records: tuple[ExternalSku, ...]


# --- what comes ----------------------------------------------------------------------------------------------


def _no_flag(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("expected a number or a text, got true or false")
    return value


def _as_text(value: object) -> object:
    """Ids come as numbers or as texts, and are compared as texts, digit by digit."""
    _no_flag(value)
    if isinstance(value, Inexact):
        raise ValueError(
            "expected a text or the digits of a whole number, got a number that cannot be kept exactly"
        )
    return str(value) if isinstance(value, int | float) else value


def _as_id_text(value: object) -> object:
    """An id is named again in later calls: a number with a point or an exponent is no id."""
    if isinstance(value, float):
        raise ValueError("expected a text or the digits of a whole number, got another number")
    return _as_text(value)


def _as_units(value: object) -> int:
    """Quantities come as numbers or as texts, with a point behind them or not."""
    return whole_number(value)


LooseId = Annotated[Text, Field(max_length=_LONGEST_ID), BeforeValidator(_as_id_text)]
LooseText = Annotated[Text, BeforeValidator(_as_text)]
LooseUnits = Annotated[int, BeforeValidator(_as_units), Field(ge=0, le=1_000_000_000)]


class FetchedItem(BaseModel):
    """One line of a fetched PO; a line of no units is one that was taken off it."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    po_item_id: LooseId
    vpc: LooseText
    quantity: LooseUnits


class FetchedPurchaseOrder(BaseModel):
    """What must be readable of a fetched PO; the rest, as an address, is looked for in ``model_extra``."""

    model_config = ConfigDict(extra="allow", frozen=True)

    po: LooseId
    items: Annotated[tuple[FetchedItem, ...], Field(min_length=1, max_length=MOST_LINES, fail_fast=True)]


class CarrierClass(BaseModel):
    """A carrier and its service in one name; ids differ from account to account and change over time."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: Annotated[int, BeforeValidator(_no_flag), Field(ge=-(2**63), le=2**63 - 1)]
    name: Text


class Answer:
    """The envelope around every answer: ``success`` and ``records``, or ``ERROR`` and ``ERRORCODE``, both texts.

    Args:
        document: the JSON object.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        error, code = document.get("ERROR"), document.get("ERRORCODE")
        self.error = _said(error) or ("an error that is no text" if error else "")
        # A production client takes the text "null" for none.
        self.code = None if code in (None, "null") else _said(code) or "an error code that is no text"
        self.success = "success" not in document or document["success"] in (1, "1")

    @classmethod
    def read(cls, body: bytes) -> Answer | None:
        """Read an answer in UTF-8; None if it is no JSON object.

        Raises:
            PartnerContractBroken: it has more records or values than any answer.
        """
        document = read_document(body)
        return cls(document) if document is not None else None

    @property
    def failed(self) -> bool:
        """Whether it tells of a failure; its HTTP status alone proves neither."""
        return bool(self.error) or self.code is not None or not self.success

    @property
    def records(self) -> object:
        """What was read, as it came; None when there is nothing."""
        return self._document.get("records")


def _said(value: object) -> str:
    """A text or a number as text, in one line; nothing for any other shape."""
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return ""
    printable = "".join(letter if letter.isprintable() else " " for letter in str(value))
    return " ".join(printable.split())
