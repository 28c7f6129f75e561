"""The three encodings in, one out; the CloudEvents SDK reads what the hub writes."""

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import InvalidMessage
from hub.messaging import cloudevents
from hub.messaging.message import Message
from hub.models.events import Event, OrderAccepted, OrderShipped

ORDER_ID = "iqmetrix:71204:7a0e5d1c-9d1e-4a77-b0f5-2f1c7a9e4d30"
SHIPPED = {"order_id": ORDER_ID, "packages": [{"carrier": "UPS", "tracking_number": "1Z1"}]}


def _plain(body: object, **changes: Any) -> Message:
    properties = {"routing_key": "order.shipped", "exchange": "hub.fulfillment"} | changes
    return Message(orjson.dumps(body), **properties)


def test_what_is_encoded_is_decoded_to_the_same_event() -> None:
    event = Event(
        "e-1",
        "order.accepted",
        "/test",
        ORDER_ID,
        datetime(2024, 5, 14, 16, 2, 9, tzinfo=UTC),
        OrderAccepted(order_id=ORDER_ID),
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )

    message = cloudevents.encode(event)

    assert cloudevents.decode(message) == event
    assert (message.exchange, message.routing_key) == ("hub.fulfillment", "order.accepted.iqmetrix")
    assert (message.message_id, message.type) == ("e-1", "order.accepted")


def test_the_cloudevents_sdk_reads_an_encoded_event() -> None:
    from cloudevents.core.formats.json import JSONFormat
    from cloudevents.core.v1.event import CloudEvent

    event = Event(
        "e-1", "order.accepted", "/test", ORDER_ID, datetime.now(UTC), OrderAccepted(order_id=ORDER_ID)
    )

    read = JSONFormat().read(CloudEvent, cloudevents.encode(event).body)

    assert read.get_id() == "e-1"
    assert read.get_type() == "order.accepted"
    assert read.get_subject() == ORDER_ID
    assert read.get_data() == {"order_id": ORDER_ID}


@pytest.mark.parametrize("prefix", ["ce-", "cloudEvents:", "cloudEvents_"])
def test_binary_mode_is_read_with_each_of_its_three_prefixes(prefix: str) -> None:
    headers = {
        f"{prefix}{key}": value
        for key, value in {
            "specversion": "1.0",
            "id": "e-9",
            "type": "order.shipped",
            "source": "/oms",
            "time": "2024-05-15T14:20:05Z",
        }.items()
    }

    event = cloudevents.decode(_plain(SHIPPED, headers=headers, content_type="application/json"))

    assert (event.id, event.source, event.type) == ("e-9", "/oms", "order.shipped")
    assert event.time == datetime(2024, 5, 15, 14, 20, 5, tzinfo=UTC)


RECEIVED = datetime(2026, 5, 14, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ahead", "believed"),
    [(timedelta(minutes=-90), True), (timedelta(minutes=5), True), (timedelta(minutes=5, seconds=1), False)],
)
@pytest.mark.parametrize("told_by", ["event", "property"])
def test_a_time_far_ahead_of_the_arrival_is_the_arrival(
    told_by: str, ahead: timedelta, believed: bool
) -> None:
    told = RECEIVED + ahead
    changes: dict[str, Any] = {"timestamp": told}
    if told_by == "event":
        attributes = {"specversion": "1.0", "id": "e", "type": "order.shipped", "source": "/oms"}
        headers = {f"ce-{name}": value for name, value in attributes.items()}
        changes = {"headers": headers | {"ce-time": told.isoformat()}, "content_type": "application/json"}

    event = cloudevents.decode(_plain(SHIPPED, received_at=RECEIVED, **changes))

    assert event.time == (told if believed else RECEIVED)


def test_structured_mode_is_read_with_a_charset_and_unknown_attributes() -> None:
    document = {
        "specversion": "1.0",
        "id": "e-2",
        "type": "order.shipped",
        "source": "/oms",
        "x": 1,
        "data": SHIPPED,
    }

    event = cloudevents.decode(_plain(document, content_type="application/cloudevents+json; charset=utf-8"))

    assert isinstance(event.data, OrderShipped)
    assert event.order_id == ORDER_ID


def test_plain_json_takes_its_type_from_the_routing_key_and_its_id_from_a_hash() -> None:
    once = cloudevents.decode(_plain(SHIPPED, routing_key="order.shipped.iqmetrix"))
    again = cloudevents.decode(_plain(SHIPPED, routing_key="order.shipped.iqmetrix"))
    other = cloudevents.decode(_plain(SHIPPED, routing_key="order.shipped"))

    assert once.type == "order.shipped"
    assert once.id == again.id != other.id


def test_plain_json_prefers_type_property_and_message_id() -> None:
    event = cloudevents.decode(
        _plain(SHIPPED, type="order.shipped", message_id="m-7", routing_key="hub.requeue")
    )

    assert (event.type, event.id) == ("order.shipped", "m-7")


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"specversion": "0.3", "id": "e", "type": "order.shipped", "source": "/"}, "specversion"),
        ({"specversion": "1.0", "type": "order.shipped", "source": "/"}, "id"),
        ({"specversion": "1.0", "id": "e", "type": "order.shipped", "source": ""}, "source"),
        (
            {"specversion": "1.0", "id": "e", "type": "order.shipped", "source": "/", "data_base64": "eA=="},
            "data",
        ),
        (
            {
                "specversion": "1.0",
                "id": "e",
                "type": "order.shipped",
                "source": "/",
                "time": "soon",
                "data": SHIPPED,
            },
            "time",
        ),
        (
            {"specversion": "1.0", "id": "e", "type": "order.shipped", "source": "/", "data": {}},
            "data.order_id",
        ),
    ],
)
def test_a_broken_cloud_event_is_refused_with_the_name_of_the_field(document: object, field: str) -> None:
    with pytest.raises(InvalidMessage) as refused:
        cloudevents.decode(_plain(document, content_type="application/cloudevents+json"))

    assert refused.value.field == field


def test_a_fault_deep_in_the_data_is_named_by_its_path_without_its_value() -> None:
    body = {"order_id": ORDER_ID, "packages": [{"carrier": "UPS", "tracking_number": "1Z", "weight_lb": -1}]}

    with pytest.raises(InvalidMessage, match=r"data\.packages\.0\.weight_lb: ") as refused:
        cloudevents.decode(_plain(body))

    assert "-1" not in str(refused.value)


@given(st.binary(max_size=300), st.sampled_from([None, "application/json", "application/cloudevents+json"]))
def test_no_bytes_raise_anything_but_invalid_message(body: bytes, content_type: str | None) -> None:
    with suppress(InvalidMessage):
        cloudevents.decode(Message(body, content_type=content_type, routing_key="order.shipped"))


def shipped_as(number: str) -> str:
    return (
        '{"order_id":"iqmetrix:71204:ORDER","packages":[{"carrier":"USPS","tracking_number":'
        + number
        + ',"weight_lb":1e-1,"items":[{"sku":"A","quantity":1}]}]}'
    )


def in_each_encoding(data: str) -> list[Message]:
    structured = (
        '{"specversion":"1.0","id":"x1","type":"order.shipped","source":"/wms","time":"2024-12-01T00:00:00Z",'
        '"datacontenttype":"application/json","data":' + data + "}"
    )
    attributes = {"ce-specversion": "1.0", "ce-id": "x1", "ce-type": "order.shipped", "ce-source": "/wms"}
    known: Any = {"exchange": "hub.fulfillment", "routing_key": "order.shipped"}
    return [
        Message(structured.encode(), "application/cloudevents+json", **known),
        Message(data.encode(), "application/json", headers=attributes, **known),
        Message(data.encode(), "application/json", **known),
    ]


@pytest.mark.parametrize(
    "number",
    [
        "9400111899223197428490",
        "18446744073709551616",
        "1940011",
        "12.50",
        "1E5",
        "1.0",
        "-0",
        "1e-05",
        "0.00001",
    ],
)
def test_a_tracking_number_that_is_a_number_keeps_its_digits_in_every_encoding(number: str) -> None:
    events = [cloudevents.decode(message) for message in in_each_encoding(shipped_as(number))]

    assert [event.data.packages[0].tracking_number for event in events] == [number] * 3
    assert {type(event.data.packages[0].weight_lb) for event in events} == {float}
    assert [event.data.packages[0].weight_lb for event in events] == [0.1] * 3


@pytest.mark.parametrize("number", ["9.400111899223197e+21", "9.4E21", "1" * 101])
def test_a_number_whose_digits_are_lost_is_no_tracking_number(number: str) -> None:
    for message in in_each_encoding(shipped_as(number)):
        with pytest.raises(InvalidMessage, match="tracking_number"):
            cloudevents.decode(message)


def test_a_byte_order_mark_before_an_event_is_no_fault() -> None:
    for message in in_each_encoding(shipped_as('"1Z"')):
        marked = replace(message, body=b"\xef\xbb\xbf" + message.body)

        assert cloudevents.decode(marked).data.packages[0].tracking_number == "1Z"
