"""Bodies and texts that are hard to look through: what a letter, a reason and an answer may hold."""

from collections.abc import Iterator

import orjson

from bench.hostile.case import filled, legal
from hub.models.input.body_limits import LARGEST_BODY, MOST_MARKUP, MOST_VALUES

_NAMES = tuple(b'"n%x a"' % name for name in range(MOST_VALUES - 10))


def bodies() -> Iterator[tuple[str, bytes]]:
    yield "empty lists", filled(b"[", b"[],", b"]")
    yield "nested lists", legal(b"[", b"[" * 900 + b"]" * 900 + b",", b"]")
    yield "all names there may be", b'{"name":[%b]}' % b",".join(_NAMES)
    yield "130,000 names", b'{"name":[%b]}' % b",".join(b'"n%x"' % name for name in range(130_000))
    yield "a long name", orjson.dumps({"name": "a b " * (LARGEST_BODY // 4 - 10)})
    yield "names of each length", orjson.dumps({"name": ["a" * length for length in range(2, 480)]})
    yield "names of words and dashes", orjson.dumps({"name": ["-a" + "b-a" * n for n in range(2, 480)]})
    for name, number in (("all attributes there may be", MOST_MARKUP - 10), ("90,000 attributes", 90_000)):
        yield name, b"<a %b/>" % b" ".join(b'a%d="b"' % attribute for attribute in range(number))
    yield "all elements there may be", b"<a>%b</a>" % (b"<name>bob</name>" * (MOST_MARKUP // 2 - 10))
    yield "more elements", b"<a>%b</a>" % (b"<b/>" * 500_000)
    yield "open elements", b"<a>" * (MOST_MARKUP - 10)
    yield "unknown entities", b"<a>%b</a>" % (b"&x;" * (MOST_MARKUP - 10))


def texts() -> Iterator[tuple[str, str]]:
    yield "a sentence", "data.items.0: expected an order a, got n1f a"
    yield "64 kB of a", "a" * 65_536
    yield "dashes", "-ab" * 22_000
    yield "words", "a b " * 16_000
    yield "references", "&#97;" * 13_000
    yield "a long reference", "&#" + "9" * 65_000 + ";"
    yield "escapes", "\\ud800" * 11_000
    yield "half an address", "a." * 32_000 + "@"
    yield "dots", "a@" + "a." * 32_000
    yield "blanks", " " * 65_536
    yield "digits", "1" * 65_536
