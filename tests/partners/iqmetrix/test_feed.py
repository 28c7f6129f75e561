"""Reading a page: what is wrong with the page as a whole, and what is wrong with one entry."""

import hashlib
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from hub.config.settings import FeedLimits
from hub.errors import InvalidMessage, PartnerContractBroken
from hub.partners.iqmetrix.feed import PageUnreadable, parse_entry, parse_page
from tests.partners.iqmetrix.samples import (
    NOTIFICATIONS,
    PRODUCTION,
    a_page,
    an_entry,
    created,
    status_updated,
)

LIMITS = FeedLimits()
SAMPLE = a_page([an_entry("two"), an_entry("one", status_updated())], prev="older")


def ids(body: bytes) -> list[str]:
    return [entry.id for entry in parse_page(body, LIMITS).entries]


def reasons(body: bytes) -> list[str]:
    return [malformed.reason for malformed in parse_page(body, LIMITS).malformed]


def test_an_empty_feed_has_no_entries_and_no_older_page() -> None:
    """Edge case 1: empty feed, no prev-archive."""
    page = parse_page(a_page(), LIMITS)

    assert page.entries == ()
    assert page.prev_href is None
    assert page.self_href == f"{PRODUCTION}/{NOTIFICATIONS}/Pages(current)"


def test_links_are_read_by_their_archive_relations_only() -> None:
    body = SAMPLE.replace(b"</author>", b'</author><link rel="prev" href="elsewhere"/><link href="plain"/>')

    assert parse_page(body, LIMITS).prev_href == f"{PRODUCTION}/{NOTIFICATIONS}/Pages(older)"


def test_entries_come_oldest_first_whatever_their_order_in_the_page() -> None:
    body = a_page(
        [
            an_entry("2nd", updated="2024-05-14T16:02:09Z"),
            an_entry("1st", updated="2024-05-14T18:00:00.1234567+02:00"),
            an_entry("3rd", updated="2024-05-14T16:02:09.5Z"),
        ]
    )

    assert ids(body) == ["1st", "2nd", "3rd"]


def test_entries_of_one_second_come_in_reverse_document_order() -> None:
    """Edge case 3: two entries with the same `updated`; both come, in a stable order."""
    body = a_page([an_entry("newest"), an_entry("middle"), an_entry("oldest")])

    assert ids(body) == ids(body) == ["oldest", "middle", "newest"]


def test_an_entry_says_what_it_holds_and_when() -> None:
    entry = parse_page(a_page([an_entry("urn:uuid:not-a-uuid", status_updated())]), LIMITS).entries[0]

    assert entry.kind == "order-status-updated"
    assert entry.time == datetime(2024, 5, 14, 16, 2, 9, tzinfo=UTC)
    assert entry.time.tzinfo is UTC


def test_without_published_the_time_is_updated() -> None:
    body = a_page([an_entry("one").replace("<published>2024-05-14T16:02:09Z</published>", "")])

    entry = parse_page(body, LIMITS).entries[0]

    assert entry.published is None
    assert entry.time == entry.updated


def test_prefixes_comments_and_unknown_elements_do_not_matter() -> None:
    body = (
        b'<a:feed xmlns:a="http://www.w3.org/2005/Atom"><!-- x --><a:new/><a:entry><?pi x?><a:id>o<!-- x -->ne</a:id>'
        b'<a:updated> 2024-05-14T16:02:09Z </a:updated><a:content><q:order-created xmlns:q="urn:iQmetrix:dropship"/>'
        b"</a:content></a:entry></a:feed>"
    )

    entry = parse_page(body, LIMITS).entries[0]

    assert (entry.id, entry.kind) == ("one", "order-created")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("<id>bad</id>", ""), "id: expected"),
        (("<id>bad</id>", "<id> </id>"), "id: expected"),
        (("<updated>2024-05-14T16:02:09Z</updated>", ""), "updated: expected"),
        (("<updated>2024-05-14T16:02:09Z</updated>", "<updated>yesterday</updated>"), "updated: expected"),
        (
            ("<updated>2024-05-14T16:02:09Z</updated>", "<updated>0001-01-01T00:00:00+14:00</updated>"),
            "updated: expected",
        ),
        (('<content type="application/xml">', '<content type="application/xml"><other/>'), "got 2"),
        (("content", "contents"), "got 0"),
    ],
)
def test_a_malformed_entry_does_not_spoil_its_page(change: tuple[str, str], reason: str) -> None:
    """Edge case 10: a malformed entry is set aside, later entries are still there."""
    bad = an_entry("bad", created()).replace(*change)

    page = parse_page(a_page([an_entry("good"), bad]), LIMITS)

    assert [entry.id for entry in page.entries] == ["good"]
    assert [
        malformed.reason.startswith(reason) or reason in malformed.reason for malformed in page.malformed
    ] == [True]


def test_a_malformed_entry_keeps_its_xml_as_a_document_of_its_own() -> None:
    bad = an_entry("bad").replace("<id>bad</id>", "")

    (malformed,) = parse_page(a_page([bad]), LIMITS).malformed

    assert malformed.key == f"sha256:{hashlib.sha256(malformed.raw).hexdigest()}"
    assert etree.fromstring(malformed.raw).tag == "{http://www.w3.org/2005/Atom}entry"
    assert b"Dana Whitfield" in malformed.raw


def test_a_raw_entry_can_be_read_again() -> None:
    entry = parse_page(SAMPLE, LIMITS).entries[0]

    again = parse_entry(entry.raw, LIMITS)

    assert (again.id, again.kind, again.updated) == (entry.id, entry.kind, entry.updated)


@pytest.mark.parametrize("body", [b"", b"<entry/>", b"<a>", SAMPLE, b"\xff\xfe"])
def test_what_is_no_entry_is_an_invalid_message(body: bytes) -> None:
    with pytest.raises(InvalidMessage):
        parse_entry(body, LIMITS)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "well-formed"),
        (SAMPLE[:-20], "well-formed"),
        (b"<html/>", "expected an Atom feed, got the root element 'html'"),
        (b'{"message": "hello"}', "well-formed"),
    ],
)
def test_a_broken_page_breaks_the_contract(body: bytes, text: str) -> None:
    with pytest.raises(PartnerContractBroken, match=text):
        parse_page(body, LIMITS)


@pytest.mark.parametrize(
    "declaration",
    [
        "<!DOCTYPE feed>",
        '<!DOCTYPE feed SYSTEM "file:///etc/passwd">',
        '<!DOCTYPE feed [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE feed [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>',
    ],
)
def test_a_document_type_is_refused(declaration: str) -> None:
    body = SAMPLE.replace(b"<feed", declaration.encode() + b"<feed", 1)

    with pytest.raises(PartnerContractBroken, match="DOCTYPE"):
        parse_page(body, LIMITS)


def test_an_entity_bomb_is_refused_before_it_grows() -> None:
    entities = '<!ENTITY e0 "aaaaaaaaaa">' + "".join(
        f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12)
    )
    body = f'<!DOCTYPE feed [{entities}]><feed xmlns="http://www.w3.org/2005/Atom" x="&e11;">&e11;</feed>'

    with pytest.raises(PartnerContractBroken):
        parse_page(body.encode(), LIMITS)


def test_a_page_that_is_too_deep_is_refused() -> None:
    shallow, deep = (
        a_page([an_entry("one", "<x>" * depth + "</x>" * depth)])
        for depth in (LIMITS.depth - 3, LIMITS.depth - 2)
    )

    assert ids(shallow) == ["one"]
    with pytest.raises(PartnerContractBroken, match="at most 64 deep"):
        parse_page(deep, LIMITS)


def test_a_page_with_too_many_entries_is_refused() -> None:
    body = a_page([an_entry(str(number)) for number in range(3)])

    with pytest.raises(PartnerContractBroken, match="at most 2 entries"):
        parse_page(body, FeedLimits(entries_per_page=2))


def test_the_error_text_of_a_broken_page_quotes_nothing() -> None:
    with pytest.raises(PartnerContractBroken) as caught:
        parse_page(SAMPLE.replace(b"</author>", b"</Whitfield>"), LIMITS)

    assert "Whitfield" not in str(caught.value)


def test_a_page_of_too_many_tags_or_attributes_is_refused_unparsed() -> None:
    tags = SAMPLE.replace(b"</feed>", b"<a/>" * 300_000 + b"</feed>")
    attributes = SAMPLE.replace(b"</feed>", b'<a b="">' * 100_001 + b"</feed>")

    for body in (tags, attributes):
        with pytest.raises(PageUnreadable, match="at most 300000 tags and 100000 attributes"):
            parse_page(body, LIMITS)


@pytest.mark.parametrize(
    ("published", "updated", "time"),
    [
        ("0001-01-01T00:00:00Z", "2024-05-14T16:02:09Z", "2024-05-14T16:02:09+00:00"),
        ("9999-12-31T23:59:59.9999999", "2024-05-14T16:02:09Z", "2024-05-14T16:02:09+00:00"),
        ("1601-01-01T00:00:00Z", "2024-05-14", "2024-05-14T00:00:00+00:00"),
        ("2024-05-14T16:02:09Z", "0001-01-01T00:00:00", "2024-05-14T16:02:09+00:00"),
        ("2024-05-14", "2024-05-14T16:02:09Z", "2024-05-14T00:00:00+00:00"),
        ("", "2024-05-14T16:02:09Z", "2024-05-14T16:02:09+00:00"),
    ],
)
def test_a_date_that_nobody_means_counts_as_the_other_one(published: str, updated: str, time: str) -> None:
    body = an_entry("one").replace("<published>2024-05-14T16:02:09Z", f"<published>{published}")
    body = body.replace("<updated>2024-05-14T16:02:09Z", f"<updated>{updated}")

    (entry,) = parse_page(a_page([body]), LIMITS).entries

    assert entry.time.isoformat() == time


def test_an_entry_without_any_date_of_our_times_is_set_aside() -> None:
    bad = an_entry("bad", updated="0001-01-01T00:00:00Z")

    assert reasons(a_page([an_entry("good"), bad])) == [
        "updated: expected an RFC 3339 date of our times, got none that can be read"
    ]


def test_links_are_found_whatever_their_case_and_quotes() -> None:
    body = SAMPLE.replace(b'rel="prev-archive" href="', b"rel='Prev-Archive' href=' ").replace(
        b'older)"', b"older)'"
    )

    assert parse_page(body, LIMITS).prev_href == f"{PRODUCTION}/{NOTIFICATIONS}/Pages(older)"


@given(
    edits=st.lists(
        st.tuples(st.integers(0, len(SAMPLE) - 1), st.integers(0, 30), st.binary(max_size=8)),
        min_size=1,
        max_size=6,
    )
)
def test_damaged_pages_only_ever_break_the_contract(edits: list[tuple[int, int, bytes]]) -> None:
    body = SAMPLE
    for start, length, replacement in edits:
        body = body[:start] + replacement + body[start + length :]

    with suppress(PartnerContractBroken):
        parse_page(body, LIMITS)
