"""An order's timeline in words, over both directions."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hub.cli.order_timeline import last_failure, rows, rows_by_day
from hub.cli.output.printing import clock, flow_of, local
from hub.models.types import utc_text
from hub.state.protocols import TimelineEntry

AT = datetime(2026, 5, 1, 10, tzinfo=UTC)
SUBMIT = "hub.retailops.submit-purchase-orders"
LOCKED = "retailops answered 200 to Vendor/PO/MarkSubmitted: PO is locked"


def entry(what: str, minutes: int = 0, **facts: Any) -> TimelineEntry:
    return TimelineEntry("retailops:27:D1", AT + timedelta(minutes=minutes), what, facts)


STORY = [
    entry("seen", poller="retailops.purchase_orders:27", type="order.created", event_id="e"),
    entry("published", type="order.created", event_id="e"),
    entry(
        "waiting", 1, queue=SUBMIT, attempt=1, note=LOCKED, type="order.created", milliseconds=120,
        until=utc_text(AT + timedelta(minutes=2)),
    ),
    entry("waiting", 2, queue=SUBMIT, attempt=2, note="another attempt is at x", parked=True, milliseconds=3),
    entry("dead", 3, queue=SUBMIT, attempt=6, note=LOCKED, type="order.created", milliseconds=2300),
    entry("letter replayed", 60, queue=f"{SUBMIT}.dead", by="dana", why="vendor added", message_id="e"),
    entry("done", 61, queue=SUBMIT, attempt=1, replays=1, note="marked", type="order.created", milliseconds=80),
]  # fmt: skip


@pytest.fixture(autouse=True)
def clock_of_utc(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_each_entry_is_one_line_that_says_where_what_and_how_long() -> None:
    submit = "retailops.submit_purchase_orders"
    assert [tuple(row[1:]) for row in rows(STORY)] == [
        ("retailops.purchase_orders", "seen: order.created", ""),
        ("", "published order.created", ""),
        (submit, "#1 failed, again 10:02:00 UTC: MarkSubmitted · ERROR 'PO is locked'", "120 ms"),
        (submit, "#2 parked: another attempt is at x", "3 ms"),
        (submit, "#6 dead letter: MarkSubmitted · ERROR 'PO is locked'", "2.3 s"),
        (submit, "letter replayed by dana: vendor added", ""),
        (submit, "#1 done after a replay: marked", "80 ms"),
    ]


def test_on_a_terminal_a_date_stands_where_a_day_begins() -> None:
    later = entry("done", 24 * 60, queue=SUBMIT, attempt=1, note="marked")

    times = [row[0] for row in rows_by_day([STORY[0], later])]

    assert times == ["2026-05-01 UTC", "10:00:00", "2026-05-02 UTC", "10:00:00"]


def test_the_last_failure_is_told_whole_unless_what_failed_has_succeeded_since() -> None:
    assert last_failure(STORY[:5]) == f"retailops.submit_purchase_orders: {LOCKED}"
    assert last_failure(STORY) is None


def test_a_time_names_its_zone_wherever_the_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()

    assert clock(AT) == "12:00:00 CEST"
    assert local(AT) == "2026-05-01 12:00:00 CEST"
    assert next(rows_by_day([STORY[0]]))[0] == "2026-05-01 CEST"


def test_a_client_keeps_the_spelling_of_its_name() -> None:
    assert flow_of("hub.webhook.acme-north.dead") == "webhook.acme-north"
