"""What people report of feeds and XML, tried on the reader of the order feed.

- LunaMultiplayer/LunaMultiplayer #602, dynamicweb/Swift #37: .NET declares UTF-16 in a text that is UTF-8.
- scrapinghub/dateparser #862, arrow-py/arrow #393: 23:59:60 is no date. ethlo/itu #4: nor is it in another zone.
- sopel-irc/sopel #393, pedramamini/ThreatIngestor #79: an entry without a date that can be read ends the whole feed.
- kurtmckee/feedparser #121, lemon24/reader #270: one &nbsp; makes a feed "bozo", and its reader drops all of it.
- custom-components/feedparser #127: a date of RFC 822 where one of RFC 3339 is expected, or the other way round.
- passiomatic/coldsweat #31, lemon24/reader #270: a page that is no feed at all is taken for an empty one.
"""

from datetime import UTC, datetime

import pytest

from hub.config.settings import FeedLimits
from hub.partners.iqmetrix.feed import Page, PageUnreadable, parse_page
from hub.partners.iqmetrix.translate import to_item
from tests.partners.iqmetrix.samples import a_page, an_entry, created, settings

LIMITS = FeedLimits()


def page_of(*entries: str) -> Page:
    return parse_page(a_page(entries), LIMITS)


def sku_of(page: Page) -> str:
    (entry,) = page.entries
    event = to_item(entry, settings()).event
    assert event is not None
    return str(event.data.lines[0].sku)


@pytest.mark.parametrize("declared", ["utf-16", "UTF-16", "utf-32", "utf-16le"])
def test_a_page_that_declares_utf_16_and_is_utf_8_is_read(declared: str) -> None:
    body = a_page([an_entry("one", created(order_id="Zoë"))])

    page = parse_page(body.replace(b"utf-8", declared.encode(), 1), LIMITS)

    assert [entry.id for entry in page.entries] == ["one"]
    assert "Zoë".encode() in page.entries[0].raw or b"Zo&#235;" in page.entries[0].raw


def test_a_page_that_declares_utf_16_and_is_damaged_is_read_entry_by_entry() -> None:
    body = a_page([an_entry("one"), an_entry("bad").replace("Rugged", "Salt & Pepper"), an_entry("two")])

    page = parse_page(body.replace(b"utf-8", b"utf-16", 1), LIMITS)

    assert {entry.id for entry in page.entries} == {"one", "two"}
    assert len(page.malformed) == 1


@pytest.mark.parametrize(
    "updated", ["2016-12-31T23:59:60Z", "2016-12-31T15:59:60-08:00", "2016-12-31t23:59:60z"]
)
def test_an_entry_of_a_leap_second_is_an_order(updated: str) -> None:
    page = page_of(an_entry("one", updated=updated))

    assert [entry.time for entry in page.entries] == [datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)]


@pytest.mark.parametrize("updated", ["Tue, 14 May 2024 16:02:09 GMT", "0000-00-00", "", "yesterday"])
def test_a_date_that_cannot_be_read_costs_its_entry_alone(updated: str) -> None:
    page = page_of(an_entry("one"), an_entry("odd", updated=updated), an_entry("two"))

    assert {entry.id for entry in page.entries} == {"one", "two"}
    assert [odd.reason.split(":")[0] for odd in page.malformed] == ["updated"]


def test_an_html_entity_costs_its_entry_alone() -> None:
    page = page_of(an_entry("one"), an_entry("odd", created().replace("Rugged Case", "Rugged&nbsp;Case")))

    assert [entry.id for entry in page.entries] == ["one"]
    assert len(page.malformed) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"garbage",
        b"",
        b"{}",
        b"<html><body>Down for maintenance</body></html>",
        b"<rss version='2.0'><channel/></rss>",
    ],
)
def test_what_is_no_feed_is_never_an_empty_one(body: bytes) -> None:
    with pytest.raises(PageUnreadable):
        parse_page(body, LIMITS)


@pytest.mark.parametrize(
    "sku", ["<![CDATA[NF-CASE]]>", "NF-<!-- x -->CASE", "NF<![CDATA[-]]>CASE", "\n NF-CASE\n"]
)
def test_a_sku_is_whole_however_its_text_is_written(sku: str) -> None:
    assert sku_of(page_of(an_entry("one", created().replace("NF-CASE-GRA", sku)))) == "NF-CASE"
