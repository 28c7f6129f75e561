"""What all payloads share: unknown fields are ignored, so that publishers may be newer than the hub.

The descriptions of fields, here and in ``published`` and ``reported``, are all that a developer of another service
reads: ``hub.contract.json_schema`` writes them into the schemas.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from hub.models.types import OrderKey


def _no_other_kind(value: object) -> object:
    """Refuse what pydantic reads as a number though nobody means one by it: ``true`` as 1, ``1_0`` as 10."""
    if isinstance(value, bool):
        raise ValueError("expected a number, got true or false")
    if isinstance(value, str) and "_" in value:
        raise ValueError("expected a number, got a text with an underscore")
    return value


Measured = BeforeValidator(_no_other_kind)
"""For a field that is a number: true, false and texts with underscores are none."""

Quantity = Annotated[int, Field(ge=1, le=1_000_000_000), Measured]
"""Units of something that is there; all sums of them fit the 64 bits of their columns."""

Count = Annotated[int, Field(ge=-(2**31), le=2**31 - 1), Measured]
"""Units that a count or a partner's status names, also none or fewer: what every database and partner reads as an integer."""

Cents = Annotated[int, Field(ge=0, le=10**12), Measured]

T = TypeVar("T")
Items = Annotated[tuple[T, ...], Field(fail_fast=True)]
"""A list of which only the first bad item is told: a body of a megabyte has room for half a million of them."""

SomeItems = Annotated[Items[T], Field(min_length=1)]
"""A list with something in it. Where it is optional, absent means all that is left, and empty does not mean absent."""


class Payload(BaseModel):
    """What an event says; the ``data`` of the CloudEvent."""

    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)


class OrderPayload(Payload):
    """A payload about one order."""

    order_id: OrderKey = Field(
        description="The hub's key of the order: <source>:<account>:<the partner's order id or PO>; copy it from order.created"
    )
