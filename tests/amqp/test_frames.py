"""Frames read where they stand are those that the client library reads, in whatever pieces they come."""

import asyncio
import struct
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pamqp.frame
import pytest
from aiormq import connection
from aiormq.exceptions import AMQPConnectionError, InvalidFrameError, ProtocolSyntaxError
from hypothesis import example, given
from hypothesis import strategies as st
from pamqp.body import ContentBody
from pamqp.commands import Basic, Channel, Connection
from pamqp.exceptions import PAMQPException
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from hub.amqp import frames
from hub.amqp.frames import FrameReader

frames.install()

ORDER = Basic.Properties(
    content_type="application/json",
    headers={"x-hub-attempt": 3, "tenant": "north", "deep": {"a": [1, None, True]}},
    delivery_mode=2,
    priority=0,
    correlation_id="c-1",
    message_id="m-1",
    message_type="order.created",
    app_id="dropship-hub",
)
names = st.text(max_size=40)
deliveries = st.builds(
    Basic.Deliver,
    consumer_tag=names,
    delivery_tag=st.integers(0, 2**63 - 1),
    redelivered=st.booleans(),
    exchange=st.from_regex(r"[a-zA-Z0-9-_.:@#,/ ]{0,30}", fullmatch=True),
    routing_key=names,
)
properties = st.builds(
    Basic.Properties,
    content_type=names,
    headers=st.none()
    | st.dictionaries(names.filter(bool), st.integers(-(2**31), 2**31) | names | st.booleans() | st.none()),
    delivery_mode=st.sampled_from([None, 1, 2]),
    priority=st.none() | st.integers(0, 255),
    correlation_id=names,
    reply_to=names,
    timestamp=st.none() | st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1)),
    message_type=names,
)
headers = st.builds(ContentHeader, st.just(0), st.integers(0, 2**40), properties)
others = st.sampled_from(
    [Heartbeat(), Channel.OpenOk(), Connection.Blocked("memory"), Basic.Nack(3, multiple=True)]
)
contents = (
    deliveries
    | headers
    | st.builds(ContentBody, st.binary(max_size=300))
    | st.builds(Basic.Ack, st.integers(0, 2**63 - 1), st.booleans())
    | others
)


class Socket:
    """Gives what a connection received, in pieces, and then that the other side has closed."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = [piece for piece in pieces if piece]

    def at_eof(self) -> bool:
        return not self._pieces

    async def read(self, _: int) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


def facts(content: Any) -> Any:
    """Give what a frame says; frames themselves compare by identity."""
    if isinstance(content, ContentHeader):
        return content.class_id, content.weight, content.body_size, facts(content.properties)
    if isinstance(content, ContentBody):
        return content.value
    return type(content), repr(dict(content)) if hasattr(content, "__slots__") else ""


async def read_all(*pieces: bytes) -> list[tuple[int, int, Any]]:
    return [
        (length, channel, facts(content)) async for length, channel, content in FrameReader(Socket(pieces))
    ]


def by_library(frame: bytes) -> tuple[int, int, Any]:
    length, channel, content = pamqp.frame.unmarshal(frame)
    return length, channel, facts(content)


@given(st.lists(st.tuples(contents, st.integers(0, 2047)), min_size=1, max_size=5), st.integers(1, 100))
def test_frames_are_read_as_the_library_reads_them_in_whatever_pieces_they_come(
    sent: list[tuple[Any, int]], size: int
) -> None:
    each = [pamqp.frame.marshal(content, channel) for content, channel in sent]
    # The library reads the end of a body without one as missing; a broker sends none.
    each = [frame for frame in each if len(frame) > 8 or frame[0] == 8]
    data = b"".join(each)

    read = asyncio.run(read_all(*(data[at : at + size] for at in range(0, len(data), size))))

    assert read == [by_library(frame) for frame in each]


@given(deliveries | headers, st.data())
@example(ContentHeader(0, 3, ORDER), None)
def test_a_frame_with_another_octet_is_what_the_library_makes_of_it(content: Any, data: Any) -> None:
    frame = bytearray(pamqp.frame.marshal(content, 1))
    if data is not None:
        # The length is not among them: with another one, what follows would be waited for.
        frame[data.draw(st.integers(7, len(frame) - 1))] = data.draw(st.integers(0, 255))
    try:
        expected = by_library(bytes(frame))
    except (PAMQPException, ValueError, IndexError, struct.error):
        with pytest.raises(InvalidFrameError):
            asyncio.run(read_all(bytes(frame)))
    else:
        assert asyncio.run(read_all(bytes(frame))) == [expected]


def test_the_properties_of_an_order_are_read_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    delivery = Basic.Deliver("ctag1.ab", 17, False, "hub.orders", "order.created")
    sent = (delivery, ContentHeader(0, 2, ORDER), ContentBody(b"{}"), Basic.Ack(4, True))
    each = [pamqp.frame.marshal(content, 1) for content in sent]
    expected = [by_library(frame) for frame in each]
    monkeypatch.delattr(pamqp.frame, "unmarshal")

    assert asyncio.run(read_all(b"".join(each))) == expected


def test_a_connection_that_closes_between_frames_has_ended() -> None:
    assert asyncio.run(read_all()) == []


def test_a_connection_that_closes_within_a_frame_is_lost() -> None:
    frame = pamqp.frame.marshal(Basic.Ack(4), 1)

    with pytest.raises(AMQPConnectionError, match="5 bytes into a frame"):
        asyncio.run(read_all(frame[:5]))


def test_a_reset_connection_is_lost() -> None:
    class Reset(Socket):
        async def read(self, _: int) -> bytes:
            raise ConnectionResetError("reset by peer")

    with pytest.raises(AMQPConnectionError, match="reset by peer"):
        asyncio.run(FrameReader(Reset([b"more"])).get_frame())


def test_a_broker_that_wants_another_version_of_the_protocol_says_so() -> None:
    with pytest.raises(ProtocolSyntaxError):
        asyncio.run(read_all(b"AMQP\0\0\x09\1"))


def test_connections_of_the_client_library_read_so() -> None:
    assert connection.FrameReceiver is FrameReader
