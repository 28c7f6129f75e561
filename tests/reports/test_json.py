"""What people report of JSON, dates and numbers from publishers, tried on the decoder of events.

- pydantic/pydantic #1185, #7940, scrapinghub/dateparser #373: digits are taken for seconds since 1970, a date for August 1970.
- pydantic/pydantic #3154: true is taken for a date. #393: true is taken for the number 1.
- soxtoby/SlackNet #47, cdmdotnet/Manatee.Trello #45: .NET sends year 1 for a date that is not known.
- time-rs/time #404, dateutil/dateutil #1018: 23:59:60 is no date.
- langfuse/langfuse #16048, ijl/orjson #441: NaN is passed on, or becomes null.
- cloudevents/sdk-java #370, cloudevents/spec #530: a CloudEvent under a content type that says JSON, or nothing.
- quarkusio/quarkus #40244, restify/node-restify #877: Application/json is another type than application/json.
- Particular/NServiceBus.RabbitMQ #1222, #258, MassTransit/MassTransit #229: a message without headers and id loops for ever.
- theupdateframework/python-tuf #372, ijl/orjson #620: of two members of one name the last wins, in silence.
"""

from datetime import UTC, datetime
from typing import Any

import pytest

from hub.errors import InvalidMessage
from hub.messaging.cloudevents import decode
from hub.messaging.message import Message
from hub.models.events import AnyEvent

KEY = "order.shipped"
PARCEL = '{"carrier":"UPS","tracking_number":"1Z999"'


def plain(data: str, content_type: str | None = "application/json") -> AnyEvent:
    return decode(
        Message(data.encode(), content_type=content_type, routing_key=KEY, exchange="hub.fulfillment")
    )


def shipment(*, shipped_at: str = '"2024-05-14T16:02:09Z"', parcel: str = "") -> str:
    return f'{{"order_id":"retailops:27:D1","shipped_at":{shipped_at},"packages":[{PARCEL}{parcel}}}]}}'


def whole(data: str) -> str:
    return f'{{"specversion":"1.0","id":"e-1","type":"{KEY}","source":"/wms","data":{data}}}'


@pytest.mark.parametrize(
    "said", ['"20241201"', "20241201", '"2024"', '"20171222160001"', "0", "-62135596800", "true"]
)
def test_a_date_of_digits_is_refused_and_not_read_as_1970(said: str) -> None:
    with pytest.raises(InvalidMessage, match="expected an RFC 3339 timestamp") as refused:
        plain(shipment(shipped_at=said))

    assert refused.value.facts.field == "data.shipped_at"


@pytest.mark.parametrize(
    "said", ["0001-01-01T00:00:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59", "1970-01-01"]
)
def test_a_date_that_stands_for_none_is_refused(said: str) -> None:
    with pytest.raises(InvalidMessage, match="expected a moment of our times") as refused:
        plain(shipment(shipped_at=f'"{said}"'))

    assert refused.value.facts.field == "data.shipped_at"


def test_an_event_of_year_1_happened_when_it_came() -> None:
    received_at = datetime(2024, 5, 14, tzinfo=UTC)
    of_year_1 = whole(shipment()).replace('"source"', '"time":"0001-01-01T00:00:00Z","source"', 1)

    event = decode(Message(of_year_1.encode(), routing_key=KEY, received_at=received_at))

    assert event.time == received_at


@pytest.mark.parametrize("said", ["1715702529", '"1715702529"', "1715702529000", "1715702529.0"])
def test_seconds_and_milliseconds_of_our_times_are_moments(said: str) -> None:
    event = plain(shipment(shipped_at=said))

    assert event.data.shipped_at == datetime(2024, 5, 14, 16, 2, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    "said", ["2016-12-31T23:59:60Z", "2016-12-31T15:59:60-08:00", "2016-12-31t23:59:60z"]
)
def test_a_leap_second_is_the_second_before_it(said: str) -> None:
    event = plain(shipment(shipped_at=f'"{said}"'))

    assert event.data.shipped_at == datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    ("parcel", "field"),
    [
        (',"items":[{"sku":"A","quantity":true}]', "items.0.quantity"),
        (',"items":[{"sku":"A","quantity":"1_0"}]', "items.0.quantity"),
        (',"shipping_cost_cents":true', "shipping_cost_cents"),
        (',"weight_lb":false', "weight_lb"),
        (',"weight_lb":NaN', "weight_lb"),
        (',"weight_lb":"Infinity"', "weight_lb"),
    ],
)
def test_what_is_no_number_is_never_counted_as_one(parcel: str, field: str) -> None:
    with pytest.raises(InvalidMessage) as refused:
        plain(shipment(parcel=parcel))

    assert refused.value.facts.field == f"data.packages.0.{field}"


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", None])
def test_a_cloud_event_is_recognized_whatever_json_it_is_called(content_type: str | None) -> None:
    event = plain(whole(shipment()), content_type)

    assert (event.id, event.source) == ("e-1", "/wms")
    assert event.data.packages[0].tracking_number == "1Z999"


@pytest.mark.parametrize("content_type", ["Application/JSON", "APPLICATION/JSON; Charset=UTF-8", "text/json"])
def test_the_case_of_a_content_type_does_not_matter(content_type: str) -> None:
    assert plain(shipment(), content_type).data.order_id == "retailops:27:D1"


def test_a_message_without_headers_id_and_content_type_is_an_event() -> None:
    bare = Message(shipment().encode(), routing_key=KEY, exchange="hub.fulfillment")

    assert decode(bare).id == decode(bare).id


@pytest.mark.parametrize("make", [lambda data: data, whole], ids=["plain", "structured"])
@pytest.mark.parametrize(
    ("said", "twice", "field"),
    [
        ('"order_id":', '"order_id":"retailops:27:OTHER","order_id":', "data.order_id"),
        ('"order_id":', '"order\\u005fid":"retailops:27:OTHER","order_id":', "data.order_id"),
        ('"order_id":', '"order_id":"retailops:27:D1","order_id":', "data.order_id"),
        ('"carrier":"UPS"', '"carrier":"UPS","carrier":"\\u003a"', "data.packages.0.carrier"),
        ('"packages":', '"packages":[],"packages":', "data.packages"),
    ],
)
def test_of_two_members_of_one_name_none_is_taken(make: Any, said: str, twice: str, field: str) -> None:
    with pytest.raises(InvalidMessage, match="expected each member once, got two of this name") as refused:
        plain(make(shipment().replace(said, twice, 1)))

    assert refused.value.facts.field == field
    assert "OTHER" not in str(refused.value)


def test_two_charges_of_one_line_are_refused() -> None:
    charges = '{"lines":{"L1":{"tax_cents":1},"L1":{"tax_cents":2}}}'
    body = f'{{"order_id":"retailops:27:D1","charges":{charges}}}'

    with pytest.raises(InvalidMessage, match="expected each member once") as refused:
        decode(Message(body.encode(), routing_key="order.cancelled", exchange="hub.fulfillment"))

    assert refused.value.facts.field == "data.charges.lines.…"


@pytest.mark.parametrize("name", ["type", "id", "source", "data", "time"])
def test_two_attributes_of_one_name_are_refused(name: str) -> None:
    twice = whole(shipment()).replace("{", f'{{"{name}":"x",', 1).replace('"data"', '"time":null,"data"')

    with pytest.raises(InvalidMessage, match="expected each member once") as refused:
        plain(twice)

    assert refused.value.facts.field == name


@pytest.mark.parametrize("make", [lambda data: data, whole], ids=["plain", "structured"])
@pytest.mark.parametrize(
    "extra",
    [
        '"note":1,"note":2,',
        '"note":{"order_id":1,"order_id":2},',
        '"note":"\\u003a",',
    ],
    ids=["a name", "a known name elsewhere", "an escaped colon"],
)
def test_what_the_hub_does_not_read_may_come_twice(make: Any, extra: str) -> None:
    assert plain(make(shipment().replace("{", "{" + extra, 1))).order_id == "retailops:27:D1"


def test_what_is_nested_deep_and_not_read_is_passed_over() -> None:
    deep = '{"note":' + "[" * 300 + '{"a:b":":"}' + "]" * 300 + ","

    assert plain(whole(shipment().replace("{", deep, 1))).order_id == "retailops:27:D1"
