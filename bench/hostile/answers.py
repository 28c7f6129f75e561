"""What a partner or a receiver may answer to a call."""

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial

import orjson

from bench.hostile.bodies import bodies, texts
from bench.hostile.case import BESIDE_MS, Case, filled
from hub.http.classify import raise_for_status, text_said, validation_said
from hub.http.protocol import MOST_HEAD_BYTES, AnswerProtocol
from hub.http.session import Response, Sent
from hub.http.tokens import token_of
from hub.partners.iqmetrix.client import is_taken
from hub.partners.optoro.client import ANSWER_BYTES
from hub.partners.optoro.wire import FIELD_NAMES

# Heads that are also received byte by byte.
_BY_BYTES = frozenset({"many headers with a fault", "hints", "one header"})
# What is read of the answer to an update or to a request for a token.
_ANSWER_BYTES = 64 * 1024


def answers() -> Iterator[Case]:
    for name, body in bodies():
        sent = Sent({"authorization": "Bearer abcdef"}, body)
        yield Case(
            "error text, sent", name, len(body), _quoted(Response(400, {}, b"-ab a b" * 9000, sent=sent))
        )
    worst = Sent({}, orjson.dumps({"name": ["-a" + "b-a" * n for n in range(2, 480)]}))
    for name, text in texts():
        for wrapped in (text.encode(), json.dumps({"error": text}).encode(), f"<p {text}".encode()):
            response = Response(400, {}, wrapped, sent=worst)
            yield Case("error text, answered", name, len(wrapped), _quoted(response))
    tags = Response(400, {}, b"<a>" * 22_000, sent=worst)
    yield Case("error text, answered", "tags", len(tags.body), _quoted(tags))
    yield from _faults(worst)
    yield from _small_answers()
    yield from _heads()
    yield from _hints()


def _quoted(response: Response) -> Callable[[], object]:
    return partial(text_said, response)


def _faults(sent: Sent) -> Iterator[Case]:
    read = validation_said(FIELD_NAMES)
    for most in (4096, ANSWER_BYTES):
        for name, body in (
            ("empty lists", filled(b'{"errors":[', b"[],", b"]}", most)),
            ("empty objects", filled(b'{"errors":[', b"{},", b"]}", most)),
            ("faults", filled(b'{"errors":[', b'{"field":"a","code":"b"},', b"]}", most)),
            ("known faults", filled(b'{"errors":[', b'{"field":"order.sku","code":"b"},', b"]}", most)),
            ("long paths", filled(b'{"errors":[', b'{"field":"%b"},' % (b"a." * 170), b"]}", most)),
            ("a long path", b'{"errors":[{"field":"%b"}]}' % (b"a.0." * (most // 4 - 10))),
            ("nested", b'{"errors":%b' % (b"[" * (most - 12))),
            ("tags", b"<a>" * (most // 3)),
        ):
            response = Response(422, {}, body, sent=sent)
            yield Case("validation failure, answered", name, len(body), partial(read, response))


def _small_answers() -> Iterator[Case]:
    """Yield answers that are parsed for a word or two: to an update, and to a request for a token."""
    most = _ANSWER_BYTES
    for name, body in (
        ("empty lists", filled(b'{"a":[', b"[],", b"]}", most)),
        ("empty objects", filled(b'{"a":[', b"{},", b"]}", most)),
        ("a key each", b"{%b}" % b",".join(b'"n%x":0' % key for key in range(6_000))),
        ("nested", b'{"a":' + b"[" * 30_000 + b"]" * 30_000 + b"}"),
        ("half nested", b"[" * most),
        ("a long number", b'{"expires_in":%b}' % (b"9" * (most - 20))),
        ("a long number as text", b'{"access_token":"a","expires_in":"%b"}' % (b"9" * (most - 60))),
        ("a long fraction", b'{"access_token":"a","expires_in":0.%b}' % (b"9" * (most - 60))),
        ("a long token", b'{"access_token":"%b"}' % (b"a" * (most - 60))),
        ("blanks as token", b'{"access_token":"%b"}' % (b"a " * (most // 2 - 60))),
        ("escapes", b'{"error":"%b"}' % (b"\\ud83d" * (most // 6 - 20))),
        ("blanks", b" " * most),
        ("half a word", b"invalid_" * (most // 8)),
        ("no UTF-8", b"\xff" * most),
    ):
        for charset in ("", "utf-16", "utf-32"):
            answered = body.decode("latin-1").encode(charset)[:most] if charset else body
            response = Response(200, {"Content-Type": "a/b;charset=" + charset}, answered)
            way = f", {charset}" if charset else ""
            yield Case(f"update, answered{way}", name, len(answered), partial(is_taken, response))
            yield Case(f"token, answered{way}", name, len(answered), partial(token_of, response, "iqmetrix"))


def _heads() -> Iterator[Case]:
    """Yield heads as large as they may be, in one piece and byte by byte (then all callbacks together)."""
    status, end = b"HTTP/1.1 200 OK\r\n", b"\r\n"

    def lines(unit: bytes, most: int = MOST_HEAD_BYTES) -> bytes:
        return status + unit * ((most - len(status) - 10) // len(unit)) + end

    hint = b"HTTP/1.1 103 E\r\n\r\n"
    for name, head in (
        ("many headers", lines(b"a:\r\n")),
        ("many headers with a fault", lines(b"a:b\r\n")[:-2] + b"\x01\r\n\r\n"),
        ("one header", status + b"a:" + b"b" * (MOST_HEAD_BYTES - 100) + end + end),
        ("a long name", status + b"a" * (MOST_HEAD_BYTES - 100) + b":" + end + end),
        ("folded lines", lines(b"a:\r\n b\r\n")),
        ("one folded header", status + b"a:" + b"\r\n b" * 13_000 + end + end),
        ("blanks", status + b"a:" + b" " * (MOST_HEAD_BYTES - 100) + end + end),
        ("blanks before a colon", status + b"a" + b"\t" * (MOST_HEAD_BYTES - 100) + b"b" + end + end),
        ("a length each", lines(b"content-length:1\r\n")),
        ("lengths of one line", status + b"content-length:" + b"1," * 30_000 + end + end),
        ("codings", lines(b"transfer-encoding:gzip\r\n")),
        ("a long status", b"HTTP/1.1 200 " + b"O" * (MOST_HEAD_BYTES - 100) + end + end),
        ("ends of lines", b"\n\r" * 30_000),
        ("no end", b"a" * 70_000),
        ("hints", hint * 16 + lines(b"a:\r\n", MOST_HEAD_BYTES - 16 * len(hint))),
        ("many hints", hint * 3_000),
    ):
        yield Case("head, answered", name, len(head), partial(_received, head, len(head)))
        if name in _BY_BYTES:
            yield Case(
                "head, byte by byte, all callbacks", name, len(head), partial(_received, head, 1), BESIDE_MS
            )


def _received(data: bytes, size: int) -> None:
    loop = _LOOP
    protocol = AnswerProtocol(loop)
    protocol.set_response_params(read_until_eof=True, auto_decompress=False)
    for start in range(0, len(data), size):
        protocol.data_received(data[start : start + size])


# Nothing runs on it: the protocol asks it for futures.
_LOOP = asyncio.new_event_loop()


def _hints() -> Iterator[Case]:
    for name, text in (
        ("digits", "9" * 8_000),
        ("fewer digits", "9" * 100),
        ("a fraction", "1." + "9" * 98),
        ("blanks", " " * 8_000),
        ("a date of blanks", "Mon, " + " " * 90 + "1"),
        ("brackets", "(" * 100),
        ("quotes", '"\\' * 50),
        ("commas", "," * 100),
        ("other digits", "\u0661" * 100),
        ("a moment", "2024-05-14T16:02:09." + "9" * 70 + "Z"),
    ):
        headers = {"Retry-After": text, "X-RateLimit-ResetSeconds": text, "X-RateLimit-Reset": text}
        response = Response(429, headers, b"")
        work = partial(raise_for_status, response, partner="p", operation="o", now=datetime.now(UTC))
        yield Case("hint, answered", name, len(text), work)
