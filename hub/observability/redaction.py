"""Values that no output may hold: secrets that this process knows, and personal data of the message at hand.

Two nets under one rule (no text of ours quotes a value that may be private):

    secrets    every secret of the settings, and every token, is made known once; ``scrubbed`` replaces it in any text
    persons    ``persons_in`` finds the values of personal fields in a body; ``without`` replaces them in a text

Who calls it: log set-up, settlement, the HTTP room for what it quotes of an answer, the command line, spans. It knows
nothing of ours; names of fields are compared without punctuation, so that ``ship_to``, ``shipTo`` and ``ship-to`` are one.
"""

from __future__ import annotations

import html
import json
import re
import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

import orjson

from hub.models.input.body_limits import LARGEST_BODY, has_too_many_values, has_too_much_markup

MASK = "***"
# Replacing shorter ones would blank words and numbers that merely look alike.
_SHORTEST_SECRET = 6
_SHORTEST_PERSONAL = 2
# Longer texts (notes, gift messages) are prose, whose words are everybody's.
_LONGEST_NAME = 40
# Characters of a text that may be quoted. What comes behind is dropped, so that no text takes longer than another.
LONGEST_QUOTE = 1536
# Characters that are looked through, so that a name on the edge of the quote is seen whole.
_WINDOW = LONGEST_QUOTE + 512
# Characters of a stranger's text that are read at all: entities and blanks may make up most of it.
_READ = 16 * LONGEST_QUOTE
# A longer value is known by its first characters; whatever follows them in a text is dropped with it.
_LONGEST_VALUE = 512
# With more values than this each word of each value is masked, which needs no search for one value after the other.
_MOST_VALUES = 500
# Characters of all values together; beyond them a body counts as one that was not looked through.
_MOST_CHARACTERS = 2**18
# Places of values in a text that are looked at; beyond them all of the text is masked.
_MOST_PLACES = 10_000
# Among the values of a body that was too large to be looked through: then any word may be personal.
_UNSEARCHED = "\0"
# Words that stay even then: those of the hub's own sentences about such bodies.
_OWN_WORDS = frozenset(
    {
        "a", "an", "and", "answered", "at", "body", "bytes", "by", "data", "error", "errors", "event", "expected", "faults", "field",
        "for", "got", "in", "is", "iqmetrix", "it", "json", "large", "larger", "limit", "lists", "message", "more", "most",
        "no", "not", "objects", "of", "or", "order", "orders", "payloads", "messages", "reference", "retailops", "send", "several", "than",
        "the", "to", "too", "type", "values", "with", "xml",
    }
)  # fmt: skip

# People and places, in the hub's words and in the partners'.
_PERSONAL = frozenset(
    {
        "shipto", "shipaddress", "shippingaddress", "billingaddress", "billto", "customer", "shippingcustomer",
        "recipient", "contact", "buyer", "name", "firstname", "middlename", "lastname", "familyname", "primaryname",
        "alternatename", "fullname", "displayname", "attentionto", "attention", "addressee", "company", "phone",
        "phonenumber", "telephone", "telephonenumber", "mobile", "fax", "email", "emailaddress", "street", "street1",
        "street2", "streetaddress", "streetaddress1", "streetaddress2", "address", "address1", "address2", "addresses",
        "postofficeboxnumber", "city", "locality", "postalcode", "zipcode", "zip", "notes", "note", "giftmessage",
        "userlogin", "password", "secret", "token", "apikey", "authorization", "clientsecret", "accesstoken",
    }
)  # fmt: skip
_PUNCTUATION = re.compile(r"[^a-z0-9]")
# Recognizable without knowing whose they are. A telephone number needs its separators: ids are digits too. An asterisk
# may be what is left of a part of an address that was a known secret or name.
# Each run of characters is tried once: from every letter of a long run anew, it would take its length squared.
_EMAIL = re.compile(r"(?<![\w.+*-])[\w.+*-]+@[\w*-]+(?:\.[\w*-]+)+")
_PHONE = re.compile(r"(?<![\w.-])(?:\+?\d{1,3}[ .-])?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}(?![\w-])")
_WORD = re.compile(r"[^\W\d_]{3,}")
_TOKEN = re.compile(r"\w+")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_NUMBER = re.compile(r"\d{1,9}")
_ESCAPE = re.compile(r"(?:\\u[0-9a-fA-F]{4})+")

_secrets: dict[str, None] = {}
_pattern: re.Pattern[str] | None = None


def is_personal(name: str) -> bool:
    """Whether values of a field of this name are kept from every output."""
    plain = name.lower()
    return (plain if plain.isalnum() else _PUNCTUATION.sub("", plain)) in _PERSONAL


# --- secrets


def remember(*secrets: str) -> None:
    """Make secrets known; from now on ``scrubbed`` replaces them, also as URLs, JSON or HTML spell them.

    One of less than six characters is not replaced: it would blank half of every line.
    """
    global _pattern
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            _secrets.update(dict.fromkeys(_spellings(secret)))
    # The longest first: one secret may begin with another.
    longest_first = sorted(_secrets, key=len, reverse=True)
    _pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None


def secrets_of_url(url: str) -> Sequence[str]:
    """Return the password of an address, and the values of its query, which may be keys; to be remembered."""
    try:
        parts = urlsplit(url)
        password = parts.password or ""
        return password, unquote(password), *(value for _, value in parse_qsl(parts.query))
    except ValueError:
        return ()


def forget(secret: str) -> None:
    """Drop a secret that has no use any more, such as a token that was replaced."""
    for spelling in _spellings(secret):
        _secrets.pop(spelling, None)
    remember()


def scrubbed(text: str) -> str:
    """Return the text with every known secret replaced."""
    return text if _pattern is None else _pattern.sub(MASK, text)


# --- persons


def persons_in(body: bytes | None) -> frozenset[str]:
    """Return the texts in the personal fields of a JSON or XML body; of what is neither nothing is known.

    A body beyond the limits of ``hub.models.input.body_limits`` is not looked through: then any word counts as personal (``without``).
    """
    if not body:
        return frozenset()
    if len(body) > LARGEST_BODY:
        return frozenset({_UNSEARCHED})
    start = body[:64].lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    is_xml = start == b"<" or body.startswith(_UTF_16)
    if has_too_much_markup(body) if is_xml else has_too_many_values(body):
        return frozenset({_UNSEARCHED})
    found = _in_xml(body) if is_xml else _in_json(body)
    # Of a long one only the start is searched for, and that it is long.
    texts = (" ".join(each[: 4 * _LONGEST_VALUE].split())[: _LONGEST_VALUE + 1] for each in found)
    known = frozenset(text for text in texts if len(text) >= _SHORTEST_PERSONAL)
    return known if sum(map(len, known)) <= _MOST_CHARACTERS else frozenset({_UNSEARCHED})


def without(text: str, texts: Collection[str]) -> str:
    """Return ``text`` without ``texts``, in any case, and without the single words of the short ones, as spelled.

    Whole words only, and single words by their case, so that a street does not blank the field ``street``. Only the start
    of a long text is returned (``LONGEST_QUOTE``). Of a body with very many values each word is masked in any case; of one
    that was not looked through, all words but the hub's own.
    """
    window = text[:_WINDOW]
    return _masked(window, _personal_spans(window, texts) if texts else ())


def quotable(text: str, texts: Collection[str]) -> str:
    """Return the start of a stranger's text without ``texts``, known secrets, mail addresses and telephone numbers.

    Entities and escapes are undone first, so that no spelling hides a value.
    """
    plain = _ESCAPE.sub(_unescaped, html.unescape(" ".join(text[:_READ].split())[: 2 * _WINDOW]))
    window = " ".join(plain.split())[:_WINDOW]
    spans = [found.span() for pattern in (_EMAIL, _PHONE) for found in pattern.finditer(window)]
    return _masked(window, (*spans, *_secret_spans(window), *_personal_spans(window, texts)))


def reason(text: str, body: bytes) -> str:
    """Return the start of a reason as it may be kept and shown: without secrets, and what the body says of persons."""
    if not text:
        return text
    window = text[:_WINDOW]
    return _masked(window, (*_secret_spans(window), *_personal_spans(window, persons_in(body))))


def frames(error: BaseException) -> list[str]:
    """Return file and line of each frame: a traceback without the values, which may be personal."""
    return [f"{at.filename}:{at.lineno} {at.name}" for at in traceback.extract_tb(error.__traceback__)]


def _spellings(secret: str) -> Iterator[str]:
    yield from {
        secret,
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
        html.escape(secret),
        json.dumps(secret)[1:-1],
    }


def _unescaped(found: re.Match[str]) -> str:
    units = bytes.fromhex(found[0].replace("\\u", ""))
    return units.decode("utf-16-be", "replace")


def _masked(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """Return the start of a text with all spans replaced; those that overlap become one."""
    kept, at, masked_to = [], 0, -1
    for start, end in sorted(spans):
        if start >= LONGEST_QUOTE:
            break
        if start > masked_to:
            kept += [text[at:start], MASK]
        at = masked_to = max(at, end)
    return "".join((*kept, text[at:LONGEST_QUOTE]))


def _secret_spans(window: str) -> Iterator[tuple[int, int]]:
    """Yield where a known secret stands, also one of which the window has only the beginning."""
    if _pattern is None:
        return
    yield from (found.span() for found in _pattern.finditer(window))
    if len(window) >= _WINDOW:
        for secret in _secrets:
            at = window.rfind(secret[:_SHORTEST_SECRET])
            if at >= 0 and secret.startswith(window[at:]):
                yield at, len(window)


def _personal_spans(text: str, texts: Collection[str]) -> Iterator[tuple[int, int]]:
    if _UNSEARCHED in texts:
        yield from (
            token.span()
            for token in _TOKEN.finditer(text)
            if token[0].lower() not in _OWN_WORDS and not _NUMBER.fullmatch(token[0])
        )
    elif len(texts) > _MOST_VALUES:
        known = frozenset(_TOKEN.findall("\n".join(texts).lower()))
        yield from (token.span() for token in _TOKEN.finditer(text) if token[0].lower() in known)
    else:
        places = list(islice(_places(_folded(text), texts), _MOST_PLACES))
        yield from (place for place in places if place is not None)
        if len(places) == _MOST_PLACES:
            yield 0, len(text)
        names = {word for each in texts if len(each) <= _LONGEST_NAME for word in _WORD.findall(each)}
        names |= {name.upper() for name in names}
        yield from (token.span() for token in _TOKEN.finditer(text) if token[0] in names)


def _places(folded: str, texts: Collection[str]) -> Iterator[tuple[int, int] | None]:
    """Yield where values stand in a folded text, in any case, and None for each place inside a word."""
    for value in texts:
        needle = _folded(value[:_LONGEST_VALUE])
        at = folded.find(needle)
        while at >= 0:
            end = at + len(needle)
            if len(value) > _LONGEST_VALUE:
                yield at, len(folded)
                break
            if at and (word := _TOKEN.match(folded, at)) and _TOKEN.match(folded, at - 1):
                yield None
                # Behind the word: from each of its letters anew, a long word would take its length squared.
                at = folded.find(needle, word.end())
            elif _TOKEN.match(folded, end) and _TOKEN.match(folded, end - 1):
                yield None
                at = folded.find(needle, at + 1)
            else:
                yield at, end
                at = folded.find(needle, end)


def _folded(text: str) -> str:
    """Return a text in lower case whose letters stand where they stood."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(each.lower()[:1] for each in text)


def _in_json(body: bytes) -> Iterator[str]:
    try:
        waiting = [(orjson.loads(body), False)]
    except orjson.JSONDecodeError:
        return
    # A body has thousands of fields of a few names, and most of its values are in none that is personal.
    known: dict[str, bool] = {}
    while waiting:
        value, personal = waiting.pop()
        if isinstance(value, dict):
            for key, item in value.items():
                mine = True if personal else known.get(key)
                if mine is None:
                    mine = known[key] = is_personal(key)
                if mine or isinstance(item, dict | list):
                    waiting.append((item, mine))
        elif isinstance(value, list):
            waiting += ((item, personal) for item in value if personal or isinstance(item, dict | list))
        elif personal and isinstance(value, str):
            yield value
        elif personal and isinstance(value, int) and not isinstance(value, bool):
            yield str(value)


def _in_xml(body: bytes) -> Sequence[str]:
    # Not at the top: every command would pay for it.
    from lxml import etree

    found = _PersonalXml()
    target: Any = found
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, recover=True, target=target
    )
    with suppress(etree.XMLSyntaxError, ValueError):
        parser.feed(body)
        parser.close()
    return found.texts


class _PersonalXml:
    """Collects the texts in personal elements and attributes while they are parsed (a parser target of lxml).

    A tree would be built first, and takes the number of an element's attributes squared to give them.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._open = [False]
        self._said: list[str] = []
        self._behind = False

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Take note of an element's attributes, all of them when it is personal."""
        self._end_text()
        personal = self._open[-1] or is_personal(tag.rpartition("}")[2])
        self.texts += (
            value for key, value in attributes.items() if personal or is_personal(key.rpartition("}")[2])
        )
        self._open.append(personal)
        self._behind = False

    def end(self, tag: str) -> None:
        """Leave an element; what stands behind a personal one counts as part of it."""
        self._end_text()
        self._behind = self._open.pop() if len(self._open) > 1 else False

    def data(self, text: str) -> None:
        """Take note of a piece of text."""
        if self._open[-1] or self._behind:
            self._said.append(text)

    def close(self) -> None:
        """End the document."""
        self._end_text()

    def _end_text(self) -> None:
        if self._said:
            self.texts.append("".join(self._said))
            self._said.clear()
