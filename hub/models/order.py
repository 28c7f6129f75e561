"""The recorded state of an order: lines, parcels, and what the last event did to them. Frozen values, nothing else.

How an event changes them is ``hub.models.order_transitions``; ``hub.state`` keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict

from hub.models.events import (
    OrderCreated,
)
from hub.models.frozen import value


class Hold(StrEnum):
    """Why a line does not move; the names are those of iQmetrix' item statuses."""

    BACKORDERED = "BackOrdered"
    ERROR = "Error"
    NOT_AVAILABLE = "NotAvailable"
    OTHER = "Other"


@value(frozen=True, slots=True)
class Line:
    """One line with what became of it; ``shipped`` and ``cancelled`` are cumulative units.

    Every part is a sum or a greatest of what the events say, so that the order of their arrival does not matter.
    """

    line_id: str
    sku: str
    quantity: int
    catalog_id: str | None = None
    unit_price_cents: int | None = None
    shipped: int = 0
    cancelled: int = 0
    hold: Hold | None = None
    hold_message: str | None = None
    status_at: datetime | None = None
    """When the last event that held, shipped or cancelled happened; an older hold is not applied over it."""
    accepted_at: datetime | None = None
    """When the last acceptance happened; a back-order from before it does not hold."""
    reason: str | None = None
    """Why units were cancelled, as the last event says that gave a reason."""
    reason_at: datetime | None = None

    @property
    def message(self) -> str | None:
        """What a person may be told about the line: about its hold, or else about its cancelled units."""
        return self.hold_message if self.hold else self.reason

    @property
    def left(self) -> int:
        """Units that are neither shipped nor cancelled."""
        return self.quantity - self.shipped - self.cancelled


class PackageItem(BaseModel):
    """Units of one line in a parcel."""

    model_config = ConfigDict(frozen=True)

    line_id: str
    quantity: int


class Package(BaseModel):
    """One parcel as recorded, with its items resolved to line ids."""

    model_config = ConfigDict(frozen=True)

    package_id: str
    event_id: str
    carrier: str
    service: str | None = None
    tracking_number: str
    weight_lb: float | None = None
    shipping_cost_cents: int | None = None
    shipped_at: datetime
    items: tuple[PackageItem, ...]


class Cancellation(BaseModel):
    """Units of one line that an event gave up; ``cumulative`` counts earlier events too."""

    model_config = ConfigDict(frozen=True)

    line_id: str
    quantity: int
    cumulative: int
    ordered: int
    reason: str | None = None


Rest = Literal["shipped", "partially_shipped", "accepted"]


class Applied(BaseModel):
    """What one event did to its order: kept with the event, so that it reads the same however late."""

    model_config = ConfigDict(frozen=True)

    packages: tuple[Package, ...] = ()
    cancellations: tuple[Cancellation, ...] = ()
    whole_order_cancelled: bool = False
    """Every unit of every line is cancelled with this event, and nothing was shipped."""
    rest: Rest = "accepted"
    """The state of what is not cancelled, after this event."""


@value(frozen=True, slots=True)
class Order:
    """An order with its lines and parcels, as far as the hub knows."""

    details: OrderCreated
    lines: tuple[Line, ...]
    packages: tuple[Package, ...] = ()
    changed_at: datetime | None = None
    """When the last change of what was ordered happened; an older one is not applied over it."""

    @classmethod
    def new(cls, details: OrderCreated) -> Order:
        """Return the order as it was announced, with nothing shipped or cancelled."""
        return cls(
            details,
            tuple(
                Line(
                    line_id=line.line_id,
                    sku=line.sku,
                    quantity=line.quantity,
                    catalog_id=line.catalog_id,
                    unit_price_cents=line.unit_price_cents,
                )
                for line in details.lines
            ),
        )

    @property
    def order_id(self) -> str:
        """The hub's own key of the order."""
        return self.details.order_id

    @property
    def finished(self) -> bool:
        """Whether no unit is left to ship or cancel."""
        return all(line.left == 0 for line in self.lines)

    def line(self, line_id: str) -> Line:
        """Return a line by its id; raises KeyError if there is none. For many of them, take ``lines_by_id``."""
        for line in self.lines:
            if line.line_id == line_id:
                return line
        raise KeyError(line_id)

    def lines_by_id(self) -> Mapping[str, Line]:
        """Return all lines by their ids: a search for each of thousands of lines would take seconds."""
        return {line.line_id: line for line in self.lines}

    def packages_by_line(self) -> Mapping[str, Sequence[Package]]:
        """Return the packages that hold units of each line, in the order they were recorded."""
        found: dict[str, list[Package]] = {}
        for package in self.packages:
            for line_id in dict.fromkeys(item.line_id for item in package.items):
                found.setdefault(line_id, []).append(package)
        return found
