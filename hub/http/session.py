"""One HTTP session for one endpoint: bounded in connections, time and bytes.

Called by the partner clients and by the webhook sender. aiohttp's and the system's errors stop here: what went wrong
on the way becomes ``IncompleteResponse`` (``NoResponse``, unless part of one came), whose text names method, host and path
pattern, and never a query, a header or a body. A status code is not judged here (``classify``), no redirect is followed, and nothing is retried but for one
thing that aiohttp does unasked: a request that is idempotent by its method (GET, PUT; never POST) is sent once more
when the partner closes a kept connection on it. Our GETs change nothing and our PUTs replace like by like.
"""

from __future__ import annotations

import asyncio
import errno
import math
import os
import re
import resource
import zlib
from collections.abc import Collection, Mapping
from dataclasses import field
from datetime import timedelta
from importlib import metadata
from typing import Literal

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from hub.errors import (
    NO_FACTS,
    ErrorFacts,
    PartnerContractBroken,
    PartnerUnavailable,
    PartnerUnreachable,
    ProcessLimit,
)
from hub.http.protocol import Connector
from hub.http.traced import trace_configs
from hub.models.frozen import value

USER_AGENT = f"dropship-hub/{metadata.version('dropship-hub')}"

Overflow = Literal["truncate", "error"]

How = Literal["timeout", "tls", "connection", "damaged"]
"""What kept an answer from coming, for metrics."""

# What went wrong on the way, in words; the first row that fits counts.
_FAILURES: tuple[tuple[type[BaseException], How, str], ...] = (
    (TimeoutError, "timeout", "no complete answer in time"),
    (aiohttp.ClientSSLError, "tls", "TLS failed"),
    (aiohttp.ClientConnectorDNSError, "connection", "host name not found"),
    (aiohttp.ClientConnectorError, "connection", "could not connect"),
    (aiohttp.ServerDisconnectedError, "connection", "connection closed without an answer"),
    (aiohttp.ClientPayloadError, "damaged", "answer cut off or damaged"),
    (asyncio.IncompleteReadError, "damaged", "answer cut off or damaged"),
    (zlib.error, "damaged", "answer cut off or damaged"),
    (aiohttp.ClientResponseError, "damaged", "answer is not HTTP"),
    (aiohttp.ClientError, "connection", "connection failed"),
    (OSError, "connection", "connection failed"),
)
_CAUGHT = tuple(kind for kind, _, _ in _FAILURES)

# Who opens no more files: this process, or its machine.
_LIMITS = {
    errno.EMFILE: "this process may not open more files or connections (ulimit -n: {limit})",
    errno.ENFILE: "this machine can open no more files (sysctl fs.file-max)",
}
# Files are free again once calls in flight have ended.
_LIMIT_AGAIN = timedelta(seconds=5)

# gzip framing; "deflate" means zlib framing, though some servers send it bare.
_GZIP = 16 + zlib.MAX_WBITS
_GZIP_MAGIC = b"\x1f\x8b"
_PACKED = frozenset({"gzip", "x-gzip", "deflate"})
# Encodings that nobody offered and that cannot be undone here; any other word means nothing.
_NOT_OFFERED = frozenset({"br", "zstd", "compress", "x-compress"})


class IncompleteResponse(PartnerUnavailable):
    """No complete answer came; ``how`` says what kept it."""

    def __init__(self, message: str, *, how: How, facts: ErrorFacts = NO_FACTS) -> None:
        super().__init__(message, facts=facts)
        self.how = how


class _UnknownEncoding(Exception):
    """The body is compressed in a way that was not offered."""


class NoResponse(IncompleteResponse, PartnerUnreachable):
    """Nothing of an answer came: no connection, no TLS, or not in time."""


@value(frozen=True, slots=True)
class Sent:
    """What was sent: headers with credentials, and a body that may be about persons."""

    headers: Mapping[str, str]
    body: bytes | None


@value(frozen=True, slots=True)
class Response:
    """An answer, read as far as allowed; ``truncated`` tells that there was more. Header names in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool = False
    sent: Sent | None = field(default=None, repr=False, compare=False)
    """The request, so that nothing of it is quoted from the answer."""

    def __post_init__(self) -> None:
        if not isinstance(self.headers, CIMultiDictProxy):
            object.__setattr__(self, "headers", CIMultiDict(self.headers))


class HttpSession:
    """Connections to one partner endpoint, opened on first use in the running loop.

    Args:
        partner: how error texts call the other side.
        timeout: for one request from waiting for a free connection to the last byte of the answer.
        limit: connections at once.
        traced: addresses that are sent ``traceparent``, while tracing is on.
        paths_below: the address below which error texts name the path; of any other they name the host alone, since
            the path of a webhook may be a secret.
    """

    def __init__(
        self,
        partner: str,
        *,
        timeout: timedelta,
        limit: int = 10,
        traced: Collection[str] = (),
        paths_below: str | None = None,
    ) -> None:
        self._partner = partner
        self._timeout_seconds = timeout.total_seconds()
        self._limit = limit
        self._traced = traced
        self._paths_below = paths_below
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        read_at_most: int,
        compressed_at_most: int | None = None,
        overflow: Overflow = "truncate",
        body_for_errors_only: bool = False,
    ) -> Response:
        """Send one request and read the answer; the URL is sent as it is spelled, parentheses and all.

        Args:
            method: HTTP method.
            url: absolute address, already encoded.
            headers: sent as they are.
            body: sent byte for byte.
            read_at_most: bytes of the answer that are kept, after decompression.
            compressed_at_most: bytes of the answer on the wire; given: compression is offered and undone here
                within both limits. Not given: none is offered.
            overflow: what to do with a longer answer: cut it, or refuse it.
            body_for_errors_only: the body is wanted for error texts alone, so the answer stands once its status is there:
                of a body that is slow, cut off or cannot be decoded what came of it is given, as truncated.

        Raises:
            NoResponse: no answer: connection, TLS, or timeout.
            ProcessLimit: not asked, since this process can open no connection.
            IncompleteResponse: an answer that was cut off or damaged on the way.
            PartnerContractBroken: longer than allowed with ``overflow="error"``.
        """
        offered = "identity" if compressed_at_most is None else "gzip, deflate"
        heard: aiohttp.ClientResponse | None = None
        kept, truncated = bytearray(), False
        try:
            async with self._open().request(
                method,
                URL(url, encoded=True),
                headers={"Accept-Encoding": offered, **headers},
                data=body,
                allow_redirects=False,
                # Undone here, within limits: an encoding that aiohttp does not know would cost us the answer.
                auto_decompress=False,
            ) as heard:
                if body_for_errors_only:
                    truncated = await _up_to(heard.content, read_at_most, kept)
                else:
                    truncated = await _read(heard, read_at_most, compressed_at_most, kept)
                if truncated:
                    # The rest is not read: the connection cannot be used again.
                    heard.close()
        except _UnknownEncoding as unknown:
            raise IncompleteResponse(
                f"{self._where(method, url)}: expected gzip, deflate or no content encoding, got {unknown}",
                how="damaged",
                facts=ErrorFacts(self._partner, code="encoding"),
            ) from None
        except _CAUGHT as error:
            if heard is None or not body_for_errors_only:
                raise _failure(error, self._where(method, url), self._partner) from None
            truncated = True
        if truncated and overflow == "error":
            raise PartnerContractBroken(
                f"{self._where(method, url)}: expected an answer of at most {read_at_most} bytes"
                f"{f' ({compressed_at_most} compressed)' if compressed_at_most else ''}, got a longer one",
                facts=ErrorFacts(self._partner, status=heard.status, code="too_long"),
            )
        read = _legible(bytes(kept), _encoding(heard), read_at_most) if body_for_errors_only else bytes(kept)
        return Response(heard.status, heard.headers, read, truncated, Sent(headers, body))

    async def close(self) -> None:
        """Close the connections; a later request opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=Connector(limit=self._limit),
                cookie_jar=aiohttp.DummyCookieJar(),
                # To the moment; aiohttp would round longer ones up to whole seconds of the loop's clock.
                timeout=aiohttp.ClientTimeout(total=self._timeout_seconds, ceil_threshold=math.inf),
                headers={"User-Agent": USER_AGENT},
                # Neither a proxy nor a .netrc of the surroundings may redirect credentials.
                trust_env=False,
                raise_for_status=False,
                trace_configs=trace_configs(self._partner, self._traced),
            )
        return self._session

    def _where(self, method: str, url: str) -> str:
        parts = URL(url, encoded=True)
        below = self._paths_below is not None and url.startswith(f"{self._paths_below}/")
        path = path_pattern(parts.raw_path) if below else "/…"
        return f"{self._partner}: {method} {parts.host or '?'}{path}"


def path_pattern(path: str) -> str:
    """Return a path without its ids: keys in parentheses and segments that look like ids or secrets become ``…``."""
    return "/".join(_segment_pattern(segment) for segment in path.split("/"))


def _segment_pattern(segment: str) -> str:
    segment = re.sub(r"\(.*\)", "(…)", segment)
    looks_like_a_word = len(segment) <= 40 and sum(letter.isdigit() for letter in segment) <= 2
    return segment if looks_like_a_word else "…"


def _failure(error: BaseException, where: str, partner: str) -> IncompleteResponse | ProcessLimit:
    if limit := _limit_met(error):
        return ProcessLimit(f"{where}: not called, since {limit}", retry_after=_LIMIT_AGAIN)
    how, words = next((how, words) for kind, how, words in _FAILURES if isinstance(error, kind))
    # An answer that is damaged is one all the same: somebody is there.
    failure = IncompleteResponse if how == "damaged" else NoResponse
    return failure(f"{where}: {words}", how=how, facts=ErrorFacts(partner, code=how))


def _limit_met(error: BaseException) -> str | None:
    """Return which limit of this process or machine kept the call from being made, or None."""
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        # The resolver says "temporary failure" when it could open no socket, so one more file is tried.
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError as own:
            number = own.errno
    found = _LIMITS.get(number or 0)
    return found and found.format(limit=resource.getrlimit(resource.RLIMIT_NOFILE)[0])


async def _read(
    answer: aiohttp.ClientResponse, read_at_most: int, compressed_at_most: int | None, kept: bytearray
) -> bool:
    """Add the body to ``kept`` as far as allowed; True when there was more."""
    encoding = _encoding(answer)
    if encoding in _NOT_OFFERED:
        raise _UnknownEncoding(encoding)
    if encoding not in _PACKED:
        return await _up_to(answer.content, read_at_most, kept)
    packed = bytearray()
    if await _up_to(answer.content, compressed_at_most or read_at_most, packed):
        return True
    unpacked, truncated = _unpack(bytes(packed), encoding, read_at_most)
    kept += unpacked
    return truncated


async def _up_to(content: aiohttp.StreamReader, limit: int, kept: bytearray) -> bool:
    """Add to ``kept`` as it comes, so that it is there if the rest does not come; True when there was more."""
    while chunk := await content.readany():
        kept += chunk
        if len(kept) > limit:
            del kept[limit:]
            return True
    return False


def _encoding(answer: aiohttp.ClientResponse) -> str:
    """Return the content encoding; of a list, and of words that are none (``utf-8``), the last that is one."""
    words = [word.strip().lower() for word in answer.headers.get("Content-Encoding", "").split(",")]
    return next((word for word in reversed(words) if word in _PACKED or word in _NOT_OFFERED), "")


def _legible(body: bytes, encoding: str, limit: int) -> bytes:
    """Undo a compression that was not offered, to quote from it; nothing if that cannot be done."""
    if encoding not in _PACKED:
        return b"" if encoding in _NOT_OFFERED else body
    try:
        return _unpack(body, encoding, limit)[0]
    except zlib.error:
        return b""


def _unpack(packed: bytes, encoding: str, limit: int) -> tuple[bytes, bool]:
    """Decompress up to ``limit`` bytes and one more, so that a bomb is never unpacked.

    Raises:
        zlib.error: damaged, or cut off.
    """
    if not packed or (encoding != "deflate" and not packed.startswith(_GZIP_MAGIC)):
        # Said to be compressed, and undone on the way already.
        return packed[:limit], len(packed) > limit
    unpacked = bytearray()
    while packed:
        stream = zlib.decompressobj(_window(packed, encoding))
        unpacked += stream.decompress(packed, limit + 1 - len(unpacked))
        if len(unpacked) > limit:
            return bytes(unpacked[:limit]), True
        if not stream.eof:
            raise zlib.error("cut off")
        # A gzip file may consist of several members.
        packed = stream.unused_data if encoding != "deflate" else b""
    return bytes(unpacked), False


def _window(packed: bytes, encoding: str) -> int:
    if encoding != "deflate":
        return _GZIP
    has_zlib_head = packed[0] & 0x0F == zlib.DEFLATED
    return zlib.MAX_WBITS if has_zlib_head else -zlib.MAX_WBITS
