"""What we send to iQmetrix, in its own words: closed models, so that no key outside the reference can appear.

Field names are those of the iQmetrix Supplier Orders reference, 25-01-2016, and the Supplier Availability reference,
23-03-2016. ``ReferenceName`` and ``ReferenceValue`` are reserved there and never sent.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import orjson
from pydantic import BaseModel, ConfigDict, Field, StrictStr


class Status(StrEnum):
    """OrderStatus and ItemStatus, in the order of their ids from 0 (Supplier Orders reference, 25-01-2016)."""

    PENDING_SUPPLIER = "PendingSupplier"
    ORDERED = "Ordered"
    SHIPPED = "Shipped"
    BACK_ORDERED = "BackOrdered"
    ERROR = "Error"
    NOT_AVAILABLE = "NotAvailable"
    PARTIALLY_SHIPPED = "PartiallyShipped"
    CANCELLED = "Cancelled"
    OTHER = "Other"

    @property
    def id(self) -> int:
        """The number that stands for the name."""
        return _IDS[self]

    @classmethod
    def read(cls, text: str) -> Status:
        """Read a name or a number; the newest reference speaks of both.

        Raises:
            ValueError: for neither.
        """
        if text.isascii() and text.isdigit() and int(text) < len(_IDS):
            return list(cls)[int(text)]
        return cls(text)


_IDS = {status: number for number, status in enumerate(Status)}


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    def encode(self) -> bytes:
        """Render as JSON without the fields that say nothing."""
        return orjson.dumps(self.model_dump(mode="json", exclude_none=True))


class OrderStatusUpdate(_Body):
    """The state of a whole order: it sets the state of every item.

    ``Status`` is always there: left out it would mean ``PendingSupplier`` and reset the order.
    """

    Id: StrictStr
    Status: Status
    TrackingInfo: StrictStr | None = None
    ShippingProvider: StrictStr | None = None
    Info: StrictStr | None = None
    Message: StrictStr | None = None


class ItemInformation(_Body):
    """The state of one item. ``TrackingInfo`` is text even where it looks like a number."""

    Sku: StrictStr
    CatalogId: StrictStr | None = None
    Quantity: Annotated[int, Field(ge=0)] | None = None
    Status: Status
    TrackingInfo: StrictStr | None = None
    ShippingProvider: StrictStr | None = None
    Info: StrictStr | None = None
    Message: StrictStr | None = None


class ItemStatusUpdate(_Body):
    """The states of single items; what is left out stays as it is."""

    Id: StrictStr
    ItemInformation: Annotated[tuple[ItemInformation, ...], Field(min_length=1)]


class Product(_Body):
    """The stock of one SKU; both values are sent always, since left out they mean "none"."""

    Sku: StrictStr
    IsAvailable: bool
    Quantity: Annotated[int, Field(ge=0)]


class Availability(_Body):
    """A push of stock counts (Supplier Availability reference, 23-03-2016)."""

    Products: Annotated[tuple[Product, ...], Field(min_length=1)]
