"""The head of an answer, read before aiohttp reads it, so that a status stands whatever follows it.

aiohttp gives up the whole answer when head and a malformed rest come in one segment, refuses two equal lengths, and
reads informational answers (1xx) without end. Here the head is split off, put right where its meaning is clear, and
handed on alone; a body whose end cannot be known is damaged, and the status stands. This is for safety. Called by
``hub.http.session`` through ``Connector``, which leaves aiohttp as it is where it has no such hook.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from enum import Enum, auto
from functools import lru_cache, partial
from typing import Any, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError

# Bytes of all heads of one answer, and how many informational ones may come before the real one.
MOST_HEAD_BYTES = 64 * 1024
MOST_INFORMATIONAL = 16
# What aiohttp takes by default, with room to spare.
_MOST_HEADERS = 100
_MOST_HEADER_BYTES = 8000

_END = re.compile(rb"\r?\n\r?\n")
_STATUS = re.compile(rb"HTTP/(\d)(?:\.(\d))?[ \t]+(\d{3})(?:[ \t]|$)")
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}"
_HEADER = re.compile(rb"(%s)[ \t]*:[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)" % _TOKEN)
_PLAIN = re.compile(
    rb"HTTP/1\.[01] [1-5]\d\d(?: [\x20-\x7e]{0,200})?\r\n(?:%s:[^\x00-\x08\x0a-\x1f\x7f]{0,%d}\r\n){0,%d}\r\n"
    % (_TOKEN, _MOST_HEADER_BYTES, _MOST_HEADERS)
)
_FRAMING = re.compile(rb"\n(content-length|transfer-encoding):([^\r\n]*)", re.IGNORECASE)
_LENGTH = re.compile(rb"\d{1,18}")

# A longer head is no ordinary one, and is not remembered.
_ORDINARY_HEAD_BYTES = 2048

_SWITCHING = 101
# Answers without a body, whatever their head says (RFC 9112, 6.3).
_NO_BODY = frozenset({204, 304})


class _Part(Enum):
    HEAD = auto()
    BODY = auto()
    END = auto()
    """Nothing more may come."""


class AnswerProtocol(ResponseHandler):
    """Reads the heads of the answers of one connection, and leaves their bodies to aiohttp."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._part = _Part.END
        self._head = bytearray()
        self._informational = 0
        self._dropped_bytes = 0

    def set_response_params(self, **params: Any) -> None:
        """Expect the answer to the next request."""
        self._part = _Part.HEAD
        if self._head:
            self._head = bytearray()
        self._informational = self._dropped_bytes = 0
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """Take what came on the connection."""
        match self._part:
            case _Part.HEAD if not self._head and _is_whole(data):
                self._part = _Part.BODY
                super().data_received(data)
            case _Part.HEAD:
                self._read_head(data)
            case _Part.BODY:
                self._read_body(data)
            case _Part.END:
                if data:
                    self._end_connection()

    def _read_head(self, data: bytes) -> None:
        searched = max(0, len(self._head) - 3)
        self._head += data
        while end := _END.search(self._head, searched):
            head, rest = bytes(self._head[: end.end()]), bytes(self._head[end.end() :])
            found = _STATUS.match(head)
            status = int(found[3]) if found else 0
            if not 100 <= status < 200 or status == _SWITCHING:
                self._head = bytearray()
                self._read_answer(head, status, rest)
                return
            self._informational += 1
            self._dropped_bytes += len(head)
            if self._informational > MOST_INFORMATIONAL:
                self._refuse("too many informational answers")
                return
            self._head, searched = bytearray(rest), 0
        if len(self._head) + self._dropped_bytes > MOST_HEAD_BYTES:
            self._refuse("the head of the answer has no end")

    def _read_answer(self, head: bytes, status: int, rest: bytes) -> None:
        """Hand on a head that is complete, and then what came behind it."""
        has_body = status not in _NO_BODY
        self._part = _Part.BODY if has_body else _Part.END
        readable, is_framed = _put_right(head, has_body=has_body) if status else (head, True)
        super().data_received(readable)
        if not is_framed:
            self._damage("a body whose end cannot be known")
        elif rest and has_body:
            self._read_body(rest)
        elif rest:
            self._end_connection()

    def _read_body(self, data: bytes) -> None:
        payload = self._payload
        super().data_received(data)
        # aiohttp tells the next reader of the connection alone, and leaves the reader of this body waiting.
        if self.exception() is not None and payload is not None and not payload.is_eof():
            payload.set_exception(aiohttp.ClientPayloadError("a malformed body"))

    def _damage(self, reason: str) -> None:
        if self._payload is not None:
            self._payload.set_exception(aiohttp.ClientPayloadError(reason))
        self._end_connection()

    def _refuse(self, reason: str) -> None:
        self._part = _Part.END
        self._head = bytearray()
        self.set_exception(HttpProcessingError(message=reason))
        self._end_connection()

    def _end_connection(self) -> None:
        self.force_close()
        if self.transport is not None:
            self.transport.close()


class Connector(aiohttp.TCPConnector):
    """Opens connections that read their answers by ``AnswerProtocol``, where aiohttp's factory can be replaced."""

    def __init__(self, *, limit: int) -> None:
        super().__init__(limit=limit)
        with suppress(AttributeError):
            if self._factory.func is ResponseHandler:
                self._factory = cast("Any", partial(AnswerProtocol, loop=asyncio.get_running_loop()))


def _is_whole(data: bytes) -> bool:
    """Whether these bytes are one ordinary answer with all of its body, as nearly every answer comes."""
    end = data.find(b"\r\n\r\n", 0, _ORDINARY_HEAD_BYTES) + 4
    return end > 3 and _plain_length(data[:end]) == len(data) - end


@lru_cache(maxsize=256)
def _plain_length(head: bytes) -> int:
    """Return the body's length by an ordinary head, else -1; a server's heads are alike for a second."""
    status = _STATUS.match(head)
    framing = _FRAMING.findall(head)
    if status is None or status[3].startswith(b"1") or int(status[3]) in _NO_BODY or len(framing) != 1:
        return -1
    (name, value) = framing[0]
    length = value.strip(b" \t")
    is_plain = name.lower() == b"content-length" and _LENGTH.fullmatch(length) and _PLAIN.fullmatch(head)
    return int(length) if is_plain else -1


def _put_right(head: bytes, *, has_body: bool) -> tuple[bytes, bool]:
    """Return a head that aiohttp takes, and whether it says where the body ends; an ordinary one is as it came."""
    framing = [(name.lower(), value.strip(b" \t")) for name, value in _FRAMING.findall(head)]
    if _PLAIN.fullmatch(head) and has_body:
        if not framing:
            return head, True
        if len(framing) == 1 and _is_clear(*framing[0]):
            return head, True
    kept = [name + b": " + value for name, value in _headers(head)]
    if not has_body:
        return _joined(head, kept), True
    # "identity" meant no coding before RFC 7230 took it back, and is still sent.
    codings = {value.lower() for name, value in framing if name == b"transfer-encoding"} - {b"identity"}
    lengths = {
        part.strip(b" \t")
        for name, value in framing
        if name == b"content-length"
        for part in value.split(b",")
    }
    if codings == {b"chunked"}:
        # The coding goes before a length (RFC 9112, 6.3), and no further answer is believed on this connection.
        closing = [b"Connection: close"] if lengths else []
        return _joined(head, [b"Transfer-Encoding: chunked", *closing, *kept]), True
    if not codings and len(lengths) == 1 and _LENGTH.fullmatch(length := min(lengths)):
        return _joined(head, [b"Content-Length: " + length, *kept]), True
    return _joined(head, [b"Connection: close", *kept]), not codings and not lengths


def _is_clear(name: bytes, value: bytes) -> bool:
    if name == b"content-length":
        return _LENGTH.fullmatch(value) is not None
    return value.lower() == b"chunked"


def _headers(head: bytes) -> list[tuple[bytes, bytes]]:
    """Return the headers that can be read, without those about the body's end."""
    # A header that goes on in the next line (RFC 9112, 5.2) is put into one.
    lines = re.split(rb"\r?\n", re.sub(rb"\r?\n[ \t]+", b" ", head))[1:]
    found = [
        match for line in lines if len(line) <= _MOST_HEADER_BYTES and (match := _HEADER.fullmatch(line))
    ]
    names = (b"content-length", b"transfer-encoding")
    return [(match[1], match[2]) for match in found if match[1].lower() not in names][:_MOST_HEADERS]


def _joined(head: bytes, headers: list[bytes]) -> bytes:
    found = _STATUS.match(head)
    assert found is not None
    version = b"HTTP/1.0" if found[1] == b"1" and found[2] == b"0" else b"HTTP/1.1"
    return b"\r\n".join([version + b" " + found[3] + b" -", *headers, b"", b""])
