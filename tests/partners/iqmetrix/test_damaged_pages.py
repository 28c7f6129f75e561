"""A page that is not well-formed: its readable entries flow, the others are kept raw, and none is ever made up."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.config.settings import FeedLimits
from hub.errors import PartnerContractBroken
from hub.partners.iqmetrix.feed import Page, PageUnreadable, parse_entry, parse_page
from tests.partners.iqmetrix.samples import NOTIFICATIONS, PRODUCTION, a_page, an_entry, created

LIMITS = FeedLimits()
GOOD = ("one", "two", "three")
BAD = an_entry("bad", created(order_id="bad"))


def page_with(bad: bytes, charset: str | None = None) -> Page:
    """Parse a page with a damaged entry between good ones."""
    body = a_page([an_entry("one"), "[BAD]", an_entry("two"), an_entry("three")], prev="older")
    return parse_page(body.replace(b"[BAD]", bad), LIMITS, charset)


def damaged(old: str, new: bytes) -> bytes:
    assert old in BAD
    return BAD.encode().replace(old.encode(), new, 1)


DAMAGE = {
    "reference to a control character": ("Rugged Case", b"Case&#x1F;Black"),
    "control character": ("Rugged Case", b"Case\x0bBlack"),
    "bare ampersand": ("Rugged Case", b"Salt & Pepper"),
    "entity": ("Rugged Case", b"Caf&eacute;"),
    "byte of another encoding": ("Rugged Case", b"Caf\xe9 Case"),
    "half a surrogate pair": ("Rugged Case", b"Case \xed\xa0\xbd"),
    "element that is not closed": ("</description>", b""),
    "end tag of another": ("</description>", b"</desc>"),
    "bare less-than": ("Rugged Case", b"5 < 6"),
    "less-than before a name": ("Rugged Case", b"a <b and"),
    "quote that is not closed": ('type="application/xml"', b'type="application/xml'),
    "attribute without quotes": ('type="application/xml"', b"type=application"),
    "attribute twice": ('type="application/xml"', b'type="a" type="a"'),
    "prefix that is not declared": ("<description>", b"<d:description>"),
    "end of the entry": ("</entry>", b""),
    "entry cut off": (BAD[200:], b""),
    "start of the entry": ("<entry>", b""),
    "two ends of the entry": ("</entry>", b"</entry></entry>"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_one_damaged_entry_stops_no_other(kind: str) -> None:
    bad = damaged(*DAMAGE[kind])

    try:
        page = page_with(bad)
    except PageUnreadable:
        # Where its start is missing, its elements stand among those of the feed.
        assert kind == "start of the entry"
        return

    assert sorted(entry.id for entry in page.entries if entry.id != "bad") == sorted(GOOD)
    assert page.prev_href == f"{PRODUCTION}/{NOTIFICATIONS}/Pages(older)"
    (malformed,) = page.malformed
    if kind != "two ends of the entry":
        assert bad.removesuffix(b"</entry>") in malformed.raw
    assert "expected" in malformed.reason
    assert "Dana" not in malformed.reason


def test_what_was_set_aside_can_be_mended_and_read_again() -> None:
    (malformed,) = page_with(damaged("Rugged Case", b"Salt & Pepper")).malformed

    entry = parse_entry(malformed.raw.replace(b"&", b"&amp;"), LIMITS)

    assert (entry.id, entry.kind) == ("bad", "order-created")


def test_an_entry_keeps_the_prefixes_that_the_feed_declares() -> None:
    entry = an_entry("x", "<d:order-created><d:order-id>7</d:order-id></d:order-created>")
    body = a_page([entry, damaged("Rugged", b"&").decode()]).replace(
        b"<feed ", b'<feed xmlns:d="urn:iQmetrix:dropship" '
    )

    page = parse_page(body, LIMITS)

    assert [(entry.id, entry.kind) for entry in page.entries] == [("x", "order-created")]


def test_a_damaged_page_keeps_its_encoding() -> None:
    body = a_page([an_entry("josé"), damaged("Rugged", b"&").decode()]).decode().encode("latin-1")

    declared = parse_page(body.replace(b"utf-8", b"iso-8859-1"), LIMITS)
    sent = parse_page(body, LIMITS, "ISO-8859-1")

    assert [entry.id for entry in (*declared.entries, *sent.entries)] == ["josé", "josé"]
    assert parse_entry(sent.malformed[0].raw.replace(b"&", b""), LIMITS).id == "bad"


@pytest.mark.parametrize("hide", ["<![CDATA[%s]]>", "<!-- %s -->", "<?x %s ?>"])
def test_an_entry_inside_a_text_is_never_taken_for_one(hide: str) -> None:
    forged = hide % f"</content></entry>{an_entry('forged')}<entry>"
    body = a_page(
        [an_entry("one"), an_entry("two", created(address=forged)), damaged("Rugged", b"&").decode()]
    )

    page = parse_page(body, LIMITS)

    assert [entry.id for entry in page.entries] == ["one"]
    assert len(page.malformed) == 2


def test_an_entry_inside_another_is_never_taken_for_one() -> None:
    nested = an_entry("outer", f"<order-created>{an_entry('inner')}</order-created>")

    with pytest.raises(PageUnreadable, match="told from one another"):
        parse_page(a_page([nested, damaged("Rugged", b"&").decode()]), LIMITS)


CANNOT_BE_SEPARATED = {
    "cut off": lambda body: body[:-20],
    "a comment without an end": lambda body: body.replace(b"Rugged", b"<!-- "),
    "a CDATA section without an end": lambda body: body.replace(b"Rugged", b"<![CDATA["),
    "a document type": lambda body: body.replace(
        b"<feed", b"<!DOCTYPE feed [<!ENTITY x 'y'>]><feed", 1
    ).replace(b"Rugged", b"&"),
    "entries behind the feed": lambda body: body.replace(b"Rugged", b"&", 1) + an_entry("late").encode(),
    "damage between entries": lambda body: body.replace(b"</entry><entry>", b"</entry><a <entry>", 1),
    "an element that holds entries": lambda body: body.replace(b"</author>", b"</author><x>").replace(
        b"Rugged", b"&"
    ),
    "no feed": lambda body: body.replace(b"<feed", b"<fed", 1),
    "a huge start tag": lambda body: body.replace(b"<feed", b'<feed x="' + b"y" * 9000 + b'"', 1).replace(
        b"Rugged", b"&"
    ),
    "too many entries": lambda body: body.replace(b"</feed>", b"<entry/>" * 1000 + b"&</feed>"),
    "too deep": lambda body: body.replace(b"<author>", b"<x>" * 80),
}


@pytest.mark.parametrize("kind", CANNOT_BE_SEPARATED)
def test_a_page_whose_entries_cannot_be_told_apart_is_unreadable(kind: str) -> None:
    body = CANNOT_BE_SEPARATED[kind](a_page([an_entry("one"), an_entry("two")]))

    with pytest.raises(PageUnreadable) as caught:
        parse_page(body, LIMITS)

    assert caught.value.digest.startswith("sha256:")


ORIGINAL = a_page([an_entry(name) for name in GOOD])
WHOLE = {entry.id: entry.raw for entry in parse_page(ORIGINAL, LIMITS).entries}
SECOND = range(ORIGINAL.index(an_entry("two").encode()), ORIGINAL.index(an_entry("three").encode()))


@given(
    start=st.integers(SECOND[0] + 8, SECOND[-1] - 10),
    length=st.integers(0, 60),
    replacement=st.one_of(
        st.binary(max_size=6),
        st.sampled_from(
            [
                b"<",
                b"&",
                b"]]>",
                b"<!--",
                b"-->",
                b"<![CDATA[",
                b'"',
                b"</entry>",
                b"<entry>",
                b"</content>",
                b"\0",
            ]
        ),
    ),
)
@settings(max_examples=200, deadline=None)
def test_damage_in_one_entry_never_changes_another(start: int, length: int, replacement: bytes) -> None:
    body = ORIGINAL[:start] + replacement + ORIGINAL[min(start + length, SECOND[-1] - 8) :]

    with suppress(PartnerContractBroken):
        page = parse_page(body, LIMITS)
        found = {entry.id: entry.raw for entry in page.entries}
        assert len(page.entries) + len(page.malformed) >= 1
        assert all(found[name] == WHOLE[name] for name in ("one", "three") if name in found)
        assert len(page.malformed) + len(found) >= 2


@pytest.mark.parametrize(
    ("change", "charset"),
    [
        (lambda body: b"\xef\xbb\xbf" + body, None),
        (lambda body: b"\xef\xbb\xbf\r\n" + body, "iso-8859-1"),
        (lambda body: b"\r\n\n" + body, None),
        (lambda body: body.replace(b"utf-8", b"iso-8859-1"), "utf-8"),
        (lambda body: body.replace(b"utf-8", b"iso-8859-1"), '"UTF-8"'),
        (lambda body: body.replace(b"utf-8", b"nonsense"), "utf-8"),
        (lambda body: body, "nonsense"),
        (lambda body: body.decode().encode("utf-16"), "utf-8"),
        (lambda body: body.decode().replace("utf-8", "utf-16").encode("utf-16-le"), None),
        (lambda body: body.decode().encode("utf-16-be"), "utf-16"),
        (lambda body: body.decode().encode("cp1252"), "windows-1252"),
    ],
)
def test_the_encoding_is_found_as_the_standards_say(
    change: Callable[[bytes], bytes], charset: str | None
) -> None:
    page = parse_page(change(a_page([an_entry("josé")])), LIMITS, charset)

    assert [entry.id for entry in page.entries] == ["josé"]


@pytest.mark.parametrize(
    "kind", ["cut off", "a comment without an end", "entries behind the feed", "too many entries"]
)
def test_an_unreadable_page_still_names_the_older_one(kind: str) -> None:
    body = CANNOT_BE_SEPARATED[kind](a_page([an_entry("one"), an_entry("two")], prev="older"))

    with pytest.raises(PageUnreadable) as caught:
        parse_page(body, LIMITS)

    assert caught.value.links["prev-archive"] == f"{PRODUCTION}/{NOTIFICATIONS}/Pages(older)"
