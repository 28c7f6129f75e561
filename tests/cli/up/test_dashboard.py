"""What `hub up` shows while it runs: a board on a terminal, a line for each milestone elsewhere."""

import io
from typing import Any

import pytest
from rich.console import Console

from hub.cli.up.dashboard import Board, plain_lines
from hub.observability.logging import LogEvent

QUEUE = "hub.webhook.acme"


def settled(outcome: str, message_id: str = "m-1", **facts: Any) -> dict[str, Any]:
    known = {"queue": QUEUE, "attempt": 1, "note": "", "message_id": message_id}
    return {"event": LogEvent.DELIVERY_SETTLED, "outcome": outcome, **known, **facts}


def shown(board: Board) -> str:
    console = Console(width=120)
    with console.capture() as captured:
        console.print(board.render("hub up", in_flight=0))
    return captured.get()


def lines(*heard: dict[str, Any]) -> list[str]:
    """The lines, without the clock in front."""
    written: list[str] = []
    hear = plain_lines(written.append)
    for facts in heard:
        hear(facts)
    return [line.split("  ", 1)[1] for line in written]


def test_the_board_counts_what_is_published_and_how_deliveries_ended() -> None:
    board = Board()
    board.hear({"event": LogEvent.EVENT_PUBLISHED, "type": "order.created"})
    board.hear(settled("waiting", parked=("m-1",), note="503"))
    board.hear(settled("waiting", "m-2", parked=("m-2",), note="503"))
    board.hear(settled("done", attempt=2))
    board.hear(settled("dead", "m-3", note="422"))

    rows = {row.split("  ")[0]: row.split()[-4:] for row in shown(board).splitlines()}

    assert rows["published order.created"][-1] == "1"
    assert rows[QUEUE] == ["1", "2", "1", "1"], "done, retried, waiting, dead"


@pytest.mark.parametrize(
    "facts",
    [
        {"event": LogEvent.OUTAGE_OPENED, "destination": "state store", "reason": "disk full"},
        {"event": LogEvent.BROKER_LOST, "who": "hub", "reason": "disk full"},
        {"event": LogEvent.SET_ASIDE, "queue": QUEUE, "reason": "disk full"},
        settled("dead", note="disk full"),
    ],
    ids=lambda facts: str(facts["event"]),
)
def test_the_board_shows_the_last_error(facts: dict[str, Any]) -> None:
    board = Board()
    board.hear(facts)

    assert "last error  disk full" in shown(board)


def test_the_board_fits_a_terminal_of_80_by_24_and_shows_what_is_wrong() -> None:
    board = Board()
    board.hint = "other commands: .venv/bin/hub --config var/sandbox-12345/hub.toml letters list"
    for kind in ("order.created", "order.changed", "order.status_updated"):
        board.hear({"event": LogEvent.EVENT_PUBLISHED, "type": kind})
    for number in range(40):
        board.hear(
            settled("done", f"m-{number}") | {"queue": f"hub.webhook.client-{number:02}-with-a-long-name"}
        )
    board.hear(settled("dead", "m-x", note="a reason " * 40) | {"queue": "hub.webhook.zulu"})
    console = Console(width=80, height=24, record=True, file=io.StringIO())

    console.print(board.render("dropship-hub   12 s   Ctrl-C stops", 3, height=24))

    lines = console.export_text().splitlines()
    assert len(lines) <= 24
    assert any(line.startswith("hub.webhook.zulu") for line in lines)
    assert any("more queues" in line for line in lines)


def test_each_milestone_is_a_line_and_nothing_else_is() -> None:
    assert lines(
        {"event": LogEvent.EVENT_PUBLISHED, "type": "order.created", "order_id": "iqmetrix:1:a"},
        {"event": LogEvent.POLLED, "poller": "iqmetrix.orders:1"},
        {"event": LogEvent.OUTAGE_OPENED, "destination": "webhook:acme", "reason": "could not connect"},
        {"event": LogEvent.OUTAGE_CLOSED, "destination": "webhook:acme", "away_seconds": 9.1},
    ) == [
        "published order.created iqmetrix:1:a",
        "away: webhook:acme could not connect",
        "back: webhook:acme",
    ]


def test_a_delivery_that_waits_says_for_how_long_and_why() -> None:
    (line,) = lines(
        settled("waiting", wait_seconds=5.0, note="503", type="order.shipped", order_id="iqmetrix:1:a")
    )

    assert line.split() == [
        "waiting",
        "webhook.acme",
        "order.shipped",
        "iqmetrix:1:a",
        "attempt",
        "1",
        "again",
        "in",
        "5",
        "s:",
        "503",
    ]
