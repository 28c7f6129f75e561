"""``hub orders``: what happened to an order, from the state store. No personal data is kept there to be shown."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from hub.cli import order_timeline
from hub.cli.context import read_settings, state_store
from hub.cli.output.printing import AsJson, Wide, as_objects, note, print_json, print_table, say
from hub.cli.output.tables import Column
from hub.config.settings import Settings
from hub.models.frozen import value
from hub.models.order import Line, Order
from hub.models.types import utc_text
from hub.partners.iqmetrix.updates import View
from hub.process.event_loop import run_short
from hub.state.protocols import TimelineEntry

app = typer.Typer(no_args_is_help=True, help="What happened to an order.")

Limit = Annotated[int, typer.Option(min=1, max=1000, help="At most so many orders.")]
_ORDERS = (
    Column("order id", "id"), Column("number", "line"), Column("created", "number"), Column("lines", "number"),
    Column("units", "number"), Column("shipped", "number"), Column("cancelled", "number"), Column("left", "number"),
    Column("state"),
)  # fmt: skip
_LINES = (
    Column("line id", "id"), Column("sku"), Column("ordered", "number"), Column("shipped", "number"),
    Column("cancelled", "number"), Column("left", "number"), Column("hold"), Column("message"),
)  # fmt: skip
_PACKAGES = (
    Column("package id", "short"), Column("carrier"), Column("service"), Column("tracking number", "id"),
    Column("shipped at", "number"), Column("items"),
)  # fmt: skip
# What a terminal of 80 columns has room for.
_ORDERS_SHOWN = ("order id", "number", "created", "state")
_LINES_SHOWN = ("line id", "sku", "ordered", "shipped", "cancelled", "left", "hold")
_PACKAGES_SHOWN = ("carrier", "tracking number", "shipped at", "items")


@app.command("list")
def list_orders(
    text: Annotated[
        str | None, typer.Argument(help="Hub id, PO, printable id, tracking number or SKU; none: the newest.")
    ] = None,
    limit: Limit = 20,
    wide: Wide = False,
    as_json: AsJson = False,
) -> None:
    """List orders, newest first."""
    orders = run_short(_find(read_settings(), text, limit))
    rows = [_order_row(order) for order in orders]
    print_table(_ORDERS, rows, as_json=as_json, on_terminal=_ORDERS_SHOWN, wide=wide)


@app.command()
def show(
    text: Annotated[
        str, typer.Argument(metavar="ID", help="Hub id, PO, printable id, tracking number or SKU.")
    ],
    wide: Wide = False,
    as_json: AsJson = False,
) -> None:
    """Show one order: lines, packages and its timeline."""
    settings = read_settings()
    orders = run_short(_find(settings, text, 20))
    exact = [order for order in orders if order.order_id == text]
    if len(exact or orders) != 1:
        _say_which(text, orders)
    order = (exact or orders)[0]
    timeline = run_short(_timeline(settings, order.order_id))
    unechoed = run_short(_late_report(settings, order))
    if as_json:
        print_json(_as_json(order, timeline, unechoed))
        return
    print_table(_ORDERS, [_order_row(order)], on_terminal=_ORDERS_SHOWN, wide=wide)
    lines = [_line_row(line) for line in order.lines]
    print_table(_LINES, lines, title="Lines", on_terminal=_LINES_SHOWN, wide=wide)
    if order.packages:
        print_table(_PACKAGES, _package_rows(order), title="Packages", on_terminal=_PACKAGES_SHOWN, wide=wide)
    if unechoed is not None:
        say(f"reported {', '.join(unechoed.states)} at {unechoed.at}; not shown by the feed since")
    _print_timeline(timeline, wide=wide)


def _print_timeline(timeline: Sequence[TimelineEntry], *, wide: bool) -> None:
    """Print the timeline; a terminal shows times of day, and the last failure whole below."""
    if wide or not sys.stdout.isatty():
        print_table(order_timeline.COLUMNS, order_timeline.rows(timeline), title="Timeline", wide=wide)
        return
    print_table(order_timeline.ON_TERMINAL, list(order_timeline.rows_by_day(timeline)), title="Timeline")
    failure = order_timeline.last_failure(timeline)
    if failure is not None:
        say(f"last failure: {failure}")


def _say_which(text: str, orders: Sequence[Order]) -> None:
    """End with status 1: no order fits, or the operator must say which of several."""
    if not orders:
        note(
            f"hub: expected the id of an order, its PO, printable id, tracking number or SKU; none has {text!r}"
        )
        raise typer.Exit(1)
    note(f"hub: {text!r} fits {len(orders)} orders; name one by its order id")
    for order in orders:
        say(order.order_id)
    raise typer.Exit(1)


async def _find(settings: Settings, text: str | None, limit: int) -> Sequence[Order]:
    async with state_store(settings) as store:
        if text is None:
            return await store.newest_orders(limit=limit)
        return await store.find_orders(text, limit=limit)


async def _timeline(settings: Settings, order_id: str) -> Sequence[TimelineEntry]:
    async with state_store(settings) as store:
        return await store.timeline_of(order_id)


@value(frozen=True, slots=True)
class _LateReport:
    """A report about an order that the partner accepted, and its feed has not shown in time."""

    states: tuple[str, ...]
    at: str


async def _late_report(settings: Settings, order: Order) -> _LateReport | None:
    """Return the last report to iQmetrix if its echo is late; None also if the account is not configured."""
    within = {
        ("iqmetrix", section.account): section.echo_within
        for section in settings.iqmetrix
        if section.echo_within
    }.get((order.details.source, order.details.source_account))
    if within is None:
        return None
    async with state_store(settings) as store:
        since = await store.awaits_echo_since("iqmetrix", order.order_id)
        view = View.from_json(await store.told("iqmetrix", order.order_id))
    if since is None or view is None or datetime.now(UTC) - since < within:
        return None
    return _LateReport(view.states, utc_text(since))


def _order_row(order: Order) -> Sequence[Any]:
    lines = order.lines
    return (
        order.order_id,
        order.details.order_number,
        order.details.created_at,
        len(lines),
        sum(line.quantity for line in lines),
        sum(line.shipped for line in lines),
        sum(line.cancelled for line in lines),
        sum(line.left for line in lines),
        _state(order),
    )


def _state(order: Order) -> str:
    """Say in a word or two how far the order is."""
    if order.finished:
        return "shipped" if any(line.shipped for line in order.lines) else "cancelled"
    holds = sorted({line.hold.value for line in order.lines if line.hold and line.left})
    if holds:
        return f"held: {', '.join(holds)}"
    return "partially shipped" if any(line.shipped for line in order.lines) else "open"


def _line_row(line: Line) -> Sequence[Any]:
    return (
        line.line_id,
        line.sku,
        line.quantity,
        line.shipped,
        line.cancelled,
        line.left,
        line.hold.value if line.hold else None,
        line.message,
    )


def _package_rows(order: Order) -> list[Sequence[Any]]:
    return [
        (
            package.package_id,
            package.carrier,
            package.service,
            package.tracking_number,
            package.shipped_at,
            ", ".join(f"{item.quantity} of {item.line_id}" for item in package.items),
        )
        for package in order.packages
    ]


def _as_json(order: Order, timeline: Sequence[TimelineEntry], unechoed: _LateReport | None) -> dict[str, Any]:
    return {
        **as_objects(_ORDERS, [_order_row(order)])[0],
        "order_lines": as_objects(_LINES, [_line_row(line) for line in order.lines]),
        "packages": as_objects(_PACKAGES, _package_rows(order)),
        "unechoed": {"reported": list(unechoed.states), "at": unechoed.at} if unechoed else None,
        "timeline": [{"at": entry.at, "what": entry.what, "facts": dict(entry.facts)} for entry in timeline],
    }
