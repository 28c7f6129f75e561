"""The walls where foreign bytes come in, each as a function of bytes, with what must hold behind it.

``enter`` gives what the hub made of a document; any error that is not one of the hub's own for this wall goes through.
``judge`` looks at what came out. Both are called by the Hypothesis tests and by the coverage-guided fuzzer, which
measures ``enter``.
"""

import os
import struct
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aio_pika.abc import AbstractMessage
from pamqp import encode as to_amqp
from pamqp.commands import Basic
from pamqp.constants import FRAME_END, FRAME_HEADER
from pamqp.header import ContentHeader

from hub.amqp.copies import headers
from hub.amqp.protocol import frame_reader
from hub.amqp.protocol.frame_reader import FrameReader
from hub.amqp.sending.properties import to_send
from hub.config.settings import FeedLimits, Settings, load
from hub.errors import ConfigError, HubError, InvalidMessage, PartnerContractBroken
from hub.messaging import cloudevents
from hub.messaging.message import Message
from hub.messaging.polling.poller import Item
from hub.models.events import AnyEvent
from hub.models.input.body_limits import LARGEST_BODY
from hub.observability import redaction
from hub.partners.iqmetrix.feed import parse_page
from hub.partners.iqmetrix.translate import entry_from_letter, to_item
from tests.fuzz import seeds
from tests.fuzz.edits import LONGEST
from tests.partners.iqmetrix import samples

frame_reader.install()

# Characters of an error: an excerpt of the input, and what was expected.
LONGEST_ERROR = 600
LIMITS = FeedLimits()
ACCOUNT = samples.settings()
PART = b"\n--\n"
# Of a content header (class, weight, size of the body, flags), and of the frame around it (type, channel, length).
_CONTENT, _FRAME = struct.Struct(">HHQH"), struct.Struct(">BHI")
_PROPERTIES = ("content_type", "type", "message_id", "routing_key")


@dataclass(frozen=True, slots=True)
class Wall:
    """``seeds`` are valid documents; ``longest`` is how many bytes the coverage-guided fuzzer may make of them."""

    name: str
    enter: Callable[[bytes], Any]
    judge: Callable[[Any], None]
    seeds: Callable[[], list[bytes]]
    longest: int = LONGEST

    def hold(self, document: bytes) -> None:
        """Enter and judge."""
        self.judge(self.enter(document))


def _is_short(error: HubError | str) -> None:
    for text in error.faults if isinstance(error, ConfigError) else [str(error)]:
        assert 0 < len(text) <= LONGEST_ERROR, f"{len(text)} characters: {text[:200]!r}"


# --- the order feed


def read_feed(document: bytes) -> list[Item] | PartnerContractBroken:
    """Read a page, and make of each entry what a poll makes of it."""
    try:
        page = parse_page(document, LIMITS)
    except PartnerContractBroken as broken:
        return broken
    return [to_item(entry, ACCOUNT) for entry in page.malformed + page.entries]


def judge_feed(read: list[Item] | PartnerContractBroken) -> None:
    """Each entry is an event that every consumer can read, or a letter that can be read again later."""
    if isinstance(read, PartnerContractBroken):
        return _is_short(read)
    for item in read:
        assert (item.event is None) != (item.letter is None)
        if item.event is not None:
            _comes_back(item.event)
        elif item.letter is not None:
            _is_short(item.reason)
            try:
                entry_from_letter(item.letter.body, LIMITS)
            except InvalidMessage as invalid:
                _is_short(invalid)
    return None


# --- events


def read_message(document: bytes) -> Message:
    """Make a message as the broker would deliver it: lines of properties, a table of headers as AMQP has it, a body."""
    lines, _, rest = document.partition(PART)
    table, _, body = rest.partition(PART)
    given: dict[str, Any] = {}
    for line in lines.decode("utf-8", "replace").splitlines():
        name, _, value = line.partition("=")
        if name in _PROPERTIES:
            given[name] = value[:60]
    return Message(body, headers=_headers(table), **given)


def _headers(table: bytes) -> Mapping[str, Any]:
    """Read a table of headers as it comes from the socket, in a frame of its own."""
    content = _CONTENT.pack(Basic.frame_id, 0, 0, Basic.Properties.flags["headers"])
    content += len(table).to_bytes(4, "big") + table
    frame = _FRAME.pack(FRAME_HEADER, 1, len(content)) + content + bytes([FRAME_END])
    waiting = FrameReader(_Socket(frame)).get_frame()
    try:
        waiting.send(None)
    except StopIteration as read:
        header: ContentHeader = read.value[2]
        return header.properties.headers or {}
    raise AssertionError("expected the frame that is there, got a wait for more")


class _Socket:
    """Gives at once what has come, and then its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def at_eof(self) -> bool:
        return not self._data

    async def read(self, most: int) -> bytes:
        data, self._data = self._data[:most], self._data[most:]
        return data

    async def readexactly(self, number: int) -> bytes:
        return await self.read(number)


def decode_event(document: bytes) -> tuple[Message, AnyEvent | InvalidMessage]:
    """Decode a message."""
    message = read_message(document)
    try:
        return message, cloudevents.decode(message)
    except InvalidMessage as invalid:
        return message, invalid


def judge_event(decoded: tuple[Message, AnyEvent | InvalidMessage]) -> None:
    """What was decoded can be sent on, and comes back as it was; what was not can be set aside with its headers."""
    message, event = decoded
    cloudevents.trace_context(message)
    book = headers.read(message.headers, exchange="", routing_key=message.routing_key)
    letter = Message(message.body, headers=headers.dead(book, message, queue="q"), type=message.type)
    _is_written(to_send(letter))
    if isinstance(event, InvalidMessage):
        return _is_short(event)
    return _comes_back(event)


def _is_written(message: AbstractMessage) -> None:
    to_amqp.by_type(dict(message.headers), "table")


def _comes_back(event: AnyEvent) -> None:
    refused = ""
    message = None
    try:
        message = cloudevents.encode(event)
    except InvalidMessage as invalid:
        refused = str(invalid)
    # A document near the limit may grow beyond it: by the envelope, and by what was left out.
    assert message is not None or f"at most {LARGEST_BODY} bytes" in refused
    assert message is None or cloudevents.decode(message) == event


# --- settings


def load_settings(document: bytes) -> Settings | ConfigError:
    """Load a TOML text, and variables below it, one a line."""
    text, _, lines = document.partition(PART)
    environ = dict(os.fsdecode(line).partition("=")[::2] for line in lines.split(b"\n") if b"=" in line)
    # What a process is started with holds no NUL; where the file is, is not what is tried here.
    environ = {name: value.replace("\0", "") for name, value in environ.items() if name != "HUB_CONFIG"}
    with tempfile.NamedTemporaryFile(prefix="hub-", suffix=".toml") as file:
        Path(file.name).write_bytes(text)
        try:
            return load(Path(file.name), environ)
        except ConfigError as error:
            return error
        finally:
            # Or each run would search for the secrets of all before it.
            redaction._secrets.clear()
            redaction.remember()


def judge_settings(loaded: Settings | ConfigError) -> None:
    """Faults are short; settings can be shown."""
    if isinstance(loaded, ConfigError):
        assert loaded.faults
        return _is_short(loaded)
    assert loaded.model_dump_json()
    return None


WALLS = {
    wall.name: wall
    for wall in (
        Wall("feed", read_feed, judge_feed, seeds.pages),
        Wall("event", decode_event, judge_event, seeds.messages),
        # Only the operator writes them, and tomllib takes its time with dotted keys of thousands of parts.
        Wall("settings", load_settings, judge_settings, seeds.settings, longest=2**13),
    )
}
