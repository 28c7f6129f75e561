"""Frames read where they stand are those that the client library reads, in whatever pieces they come."""

import asyncio
import struct
from collections.abc import Sequence
from datetime import datetime
from importlib import import_module
from typing import Any

import pamqp.frame
import pytest
from aiormq import connection
from aiormq.exceptions import AMQPConnectionError, InvalidFrameError, ProtocolSyntaxError
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pamqp.body import ContentBody
from pamqp.commands import Basic, Channel, Connection
from pamqp.exceptions import PAMQPException
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from hub.amqp.protocol.frame_reader import FrameReader

# Puts the reader in the place of the library's.
import_module("hub.amqp.connection.connection")

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
    | st.builds(ContentBody, st.binary(min_size=1, max_size=300))
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


@settings(deadline=None)
@given(st.lists(st.tuples(contents, st.integers(0, 2047)), min_size=1, max_size=5), st.integers(1, 100))
def test_frames_are_read_as_the_library_reads_them_in_whatever_pieces_they_come(
    sent: list[tuple[Any, int]], size: int
) -> None:
    each = [pamqp.frame.marshal(content, channel) for content, channel in sent]
    data = b"".join(each)

    read = asyncio.run(read_all(*(data[at : at + size] for at in range(0, len(data), size))))

    assert read == [by_library(frame) for frame in each]


@settings(deadline=None)
@given(deliveries | headers, st.floats(0, 1), st.integers(0, 255))
@example(ContentHeader(0, 3, ORDER), 0.0, 0)
# The first octet of a tag, and the length of the text in a table of headers.
@example(Basic.Deliver("", 0, False, "", "k"), 0.3, 0x80)
@example(ContentHeader(0, 3, Basic.Properties(headers={"a": "b"})), 0.93, 60)
def test_a_frame_with_another_octet_is_what_the_library_makes_of_it_whatever_stands_behind(
    content: Any, where: float, octet: int
) -> None:
    frame = bytearray(pamqp.frame.marshal(content, 1))
    # The length is not among them: with another one, what follows would be waited for.
    frame[7 + round(where * (len(frame) - 8))] = octet
    behind = pamqp.frame.marshal(ContentBody(b"of another message " * 9), 1)
    try:
        expected = by_library(bytes(frame))
    except (PAMQPException, ValueError, IndexError, struct.error):
        for data in (frame, frame + behind):
            with pytest.raises(InvalidFrameError):
                asyncio.run(read_all(bytes(data)))
    else:
        assert asyncio.run(read_all(bytes(frame))) == [expected]
        assert asyncio.run(read_all(bytes(frame + behind))) == [expected, by_library(behind)]


def test_a_table_takes_in_nothing_of_the_frame_behind_it() -> None:
    frame = pamqp.frame.marshal(ContentHeader(0, 3, Basic.Properties(headers={"a": "b", "n": 3})), 1)
    behind = pamqp.frame.marshal(ContentBody(b"of another message " * 9), 1)
    for place in range(7, len(frame)):
        for octet in (20, 60, 120):
            data = frame[:place] + bytes([octet]) + frame[place + 1 :] + behind
            try:
                read = asyncio.run(read_all(data))
            except InvalidFrameError:
                continue
            assert "another" not in repr(read[0])


def test_a_part_of_a_body_without_an_octet_is_no_frame() -> None:
    with pytest.raises(InvalidFrameError):
        asyncio.run(read_all(pamqp.frame.marshal(ContentBody(b""), 1)))


async def test_who_stops_waiting_within_a_frame_may_wait_again_and_misses_nothing() -> None:
    large = pamqp.frame.marshal(ContentBody(b"x" * 200_000), 1)
    small = pamqp.frame.marshal(Basic.Ack(4), 1)
    for cut in (3, 9, 70_000, len(large) - 1):
        socket = asyncio.StreamReader()
        reader = FrameReader(socket)
        socket.feed_data(large[:cut])
        waiting = asyncio.create_task(reader.get_frame())
        for _ in range(5):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        socket.feed_data(large[cut:] + small)

        read = [facts((await reader.get_frame())[2]) for _ in range(2)]

        assert read == [b"x" * 200_000, facts(Basic.Ack(4))]


async def test_a_connection_that_closes_while_a_frame_is_waited_for_is_lost() -> None:
    large = pamqp.frame.marshal(ContentBody(b"x" * 200_000), 1)
    for come in (b"", large[:5], large[:100_000]):
        socket = asyncio.StreamReader()
        socket.feed_data(come[:80_000])
        waiting = asyncio.create_task(FrameReader(socket).get_frame())
        for _ in range(5):
            await asyncio.sleep(0)
        socket.feed_data(come[80_000:])
        socket.feed_eof()

        with pytest.raises(AMQPConnectionError, match=f"unexpectedly closed, {len(come)} bytes into a frame"):
            await waiting


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
