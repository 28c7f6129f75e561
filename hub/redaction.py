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
from collections.abc import Collection, Iterator, Sequence
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

import orjson

MASK = "***"
# Replacing shorter ones would blank words and numbers that merely look alike.
_SHORTEST_SECRET = 6
_SHORTEST_PERSONAL = 2
# Longer texts (notes, gift messages) are prose, whose words are everybody's.
_LONGEST_NAME = 40
# Of a body that is searched for personal values; larger ones are a partner's pages, and no reason quotes them.
_LONGEST_BODY = 2**21

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
_EMAIL = re.compile(r"[\w.+*-]+@[\w*-]+(?:\.[\w*-]+)+")
_PHONE = re.compile(r"(?<![\w.-])(?:\+?\d{1,3}[ .-])?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}(?![\w-])")
_WORD = re.compile(r"[^\W\d_]{3,}")

_secrets: dict[str, None] = {}
_pattern: re.Pattern[str] | None = None


def is_personal(name: str) -> bool:
    """Whether values of a field of this name are kept from every output."""
    return _PUNCTUATION.sub("", name.lower()) in _PERSONAL


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
    """Give the password of an address, and the values of its query, which may be keys; to be remembered."""
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
    """Give the text with every known secret replaced."""
    return text if _pattern is None else _pattern.sub(MASK, text)


# --- persons


def persons_in(body: bytes | None) -> frozenset[str]:
    """Give the texts in the personal fields of a JSON or XML body; of what is neither nothing is known."""
    if not body or len(body) > _LONGEST_BODY:
        return frozenset()
    try:
        found = _in_json(orjson.loads(body), personal=False)
    except orjson.JSONDecodeError:
        found = _in_xml(body)
    return frozenset(text for each in found if len(text := " ".join(each.split())) >= _SHORTEST_PERSONAL)


def without(text: str, texts: Collection[str]) -> str:
    """Give ``text`` without ``texts``, in any case, and without the single words of the short ones, as spelled.

    Whole words only, and single words by their case, so that a street does not blank the field ``street``.
    """
    names = {word for each in texts if len(each) <= _LONGEST_NAME for word in _WORD.findall(each)}
    for parts, flags in ((texts, re.IGNORECASE), (names | {name.upper() for name in names}, re.NOFLAG)):
        if parts:
            whole = "|".join(re.escape(part) for part in sorted(parts, key=len, reverse=True))
            text = re.sub(rf"(?<!\w)(?:{whole})(?!\w)", MASK, text, flags=flags)
    return text


def quotable(text: str, texts: Collection[str]) -> str:
    """Give a stranger's text without ``texts``, without known secrets, mail addresses and telephone numbers.

    Entities and escapes are undone first, so that no spelling hides a value.
    """
    plain = re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), html.unescape(text))
    plain = " ".join(plain.split())
    return _PHONE.sub(MASK, _EMAIL.sub(MASK, without(scrubbed(plain), texts)))


def reason(text: str, body: bytes) -> str:
    """Give a reason as it may be kept and shown: without secrets, and without what the body says of persons."""
    return without(scrubbed(text), persons_in(body)) if text else text


def frames(error: BaseException) -> list[str]:
    """Give file and line of each frame: a traceback without the values, which may be personal."""
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


def _in_json(value: Any, *, personal: bool) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _in_json(item, personal=personal or is_personal(str(key)))
    elif isinstance(value, list):
        for item in value:
            yield from _in_json(item, personal=personal)
    elif personal and isinstance(value, str):
        yield value
    elif personal and isinstance(value, int) and not isinstance(value, bool):
        yield str(value)


def _in_xml(body: bytes) -> Iterator[str]:
    # Not at the top: every command would pay for it.
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, recover=True)
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError):
        return
    if root is not None:
        yield from _in_element(root, personal=False)


def _in_element(element: Any, *, personal: bool) -> Iterator[str]:
    if not isinstance(element.tag, str):
        return
    personal = personal or is_personal(element.tag.rpartition("}")[2])
    if personal:
        yield from (text for text in (element.text, element.tail, *element.attrib.values()) if text)
    else:
        yield from (value for key, value in element.attrib.items() if is_personal(key.rpartition("}")[2]))
    for child in element:
        yield from _in_element(child, personal=personal)
