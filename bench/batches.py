"""How few calls RetailOps gets: stock counts and purchase orders, through the broker, as the hub is deployed.

    python -m bench.batches       ends with 1 when a limit is missed, within three minutes

RetailOps takes 1000 records a call, so N records are N / 1000 calls at the fewest. A call with less in it goes only when
the first of its batch has waited for ``batch_within`` (1 s): at the end, and whenever events come more slowly than a call
per second can be filled with. The table counts those; the limit is the fewest, a tenth, and one for each of them, of which
there may be one a second. A hub that calls more often has a fault in how it gathers, and is not only on a slow machine.

The counts are published while the hub runs, as another service would, faster than a call is made. The purchase orders
are fetched, published and marked by one hub at once, so its producer sets the pace of the marks.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from pydantic import SecretStr

from bench.processes import SAMPLE_SECONDS, BenchmarkError, Hub, exit_status, hub, hub_environment
from hub.amqp.sending.client_session import ClientSession, client_session
from hub.cli.output.printing import print_table
from hub.config.broker import Broker
from hub.local_broker.node import PrivateNode
from hub.messaging import cloudevents
from hub.models.events import AnyEvent, Event, InventoryCounted
from hub.sandbox import RetailopsSandbox

# Records of one call, by the partner's documents.
BATCH = 1000
RECORDS = 100_000
ORDERS = 10_000
# The fewest calls and a tenth; batches that time has cut come on top.
TOLERATED = 1.1
# Of the settings, seconds: no more batches than that are late.
WITHIN = 1.0
# Publishes that wait for their confirms at once, as a service that is in a hurry has them.
_CONFIRMS_AT_ONCE = 200
# One row takes a quarter of a minute to one on two cores; more is a hub that stands still.
_ROW_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement: how many records went in how many calls, and how many batches time had cut."""

    what: str
    records: int
    calls: Sequence[int]
    late: int
    seconds: float

    @property
    def fewest(self) -> int:
        """The calls that the partner's limit asks for."""
        return -(-self.records // BATCH)

    @property
    def limit(self) -> int:
        """The calls that are good enough."""
        return int(self.fewest * TOLERATED) + self.late

    @property
    def holds(self) -> bool:
        """Whether the limit does, time has cut no more than it may, and nothing was sent twice."""
        few = len(self.calls) <= self.limit and self.late <= self.seconds / WITHIN
        return few and sum(self.calls) == self.records


def counts(events: int, skus_each: int) -> Iterator[AnyEvent]:
    """Give events that count so many SKUs each, all of them different."""
    for number in range(events):
        first = number * skus_each
        items = [{"sku": f"NF-{sku:06}", "quantity": sku % 500} for sku in range(first, first + skus_each)]
        data = InventoryCounted.model_validate({"items": items})
        yield Event(f"count-{number}", "inventory.counted", "/bench", "", datetime.now(UTC), data)


async def publish(errand_: ClientSession, events: Iterator[AnyEvent]) -> None:
    """Publish events with confirms."""
    while messages := [cloudevents.encode(event) for event in islice(events, _CONFIRMS_AT_ONCE)]:
        await asyncio.gather(
            *(
                errand_.send(message, exchange=message.exchange, routing_key=message.routing_key)
                for message in messages
            )
        )


async def tell_counts(broker_url: str, folder: Path, events: int, skus_each: int) -> Row:
    """Measure ``inventory.counted`` events on their way to the sandbox.

    Raises:
        BenchmarkError: they did not all come there in time.
    """
    async with RetailopsSandbox() as retailops:
        with _hub(folder, broker_url, retailops, "advise_inventory") as measured:
            await measured.ready()
            async with client_session(Broker(url=SecretStr(broker_url)), name="bench") as errand_:
                begun = time.monotonic()
                await publish(errand_, counts(events, skus_each))
                await _until(lambda: len(retailops.inventory) == RECORDS, measured, "told every count")
            what = f"counts: {events} events of {skus_each} SKUs"
            return await _row(what, "advise_inventory", "ExternalSku", RECORDS, retailops, measured, begun)


async def mark_orders(broker_url: str, folder: Path) -> Row:
    """Measure purchase orders from the fetch to the mark.

    Raises:
        BenchmarkError: they were not all marked in time.
    """
    async with RetailopsSandbox() as retailops:
        orders = retailops.add_orders(ORDERS)
        flows = ("retailops_purchase_orders", "submit_purchase_orders")
        begun = time.monotonic()
        with _hub(folder, broker_url, retailops, *flows) as measured:
            await measured.ready()

            def marked() -> bool:
                return all(retailops.status(order.po) == "submitted" for order in orders)

            await _until(marked, measured, "marked every PO")
            return await _row(
                f"marks: {ORDERS} POs, fetched meanwhile",
                "submit_purchase_orders",
                "MarkSubmitted",
                ORDERS,
                retailops,
                measured,
                begun,
            )


def _hub(
    folder: Path, broker_url: str, retailops: RetailopsSandbox, *flows: str
) -> AbstractContextManager[Hub]:
    account = {
        "HUB_RETAILOPS__BASE_URL": retailops.base_url,
        "HUB_RETAILOPS__API_KEY": retailops.api_key,
        "HUB_RETAILOPS__VENDOR_ID": retailops.vendor_id,
    }
    return hub(folder, hub_environment(folder, broker_url) | account, *flows)


async def _until(reached: Callable[[], bool], measured: Hub, what: str) -> None:
    deadline = time.monotonic() + _ROW_SECONDS
    while not reached():
        if time.monotonic() > deadline:
            raise measured.failed(f"has not {what} in time")
        await measured.watch(SAMPLE_SECONDS)


async def _row(
    what: str,
    consumer: str,
    operation: str,
    records: int,
    retailops: RetailopsSandbox,
    measured: Hub,
    begun: float,
) -> Row:
    seconds = time.monotonic() - begun
    late = await measured.metric(f'hub_batches_total{{because="late",consumer="{consumer}"}}')
    if retailops.violations:
        raise BenchmarkError(f"{what}: the partner's protocol was broken: {retailops.violations[0].what}")
    return Row(what, records, retailops.record_counts(operation), int(late), seconds)


def report(rows: Sequence[Row]) -> bool:
    """Print the table; tells whether every limit holds."""
    print_table(
        ("", "records", "fewest calls", "calls", "cut by time", "limit", "verdict", "seconds", "records/s"),
        [
            (
                row.what,
                row.records,
                row.fewest,
                len(row.calls),
                row.late,
                row.limit,
                "ok" if row.holds else "MISSED",
                f"{row.seconds:.1f}",
                f"{row.records / row.seconds:.0f}",
            )
            for row in rows
        ],
    )
    return all(row.holds for row in rows)


async def measure() -> bool:
    """Run all rows and print what came of them; tells whether every limit holds."""
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as name:
        folder = Path(name)
        measurements: Sequence[Callable[[str, Path], Awaitable[Row]]] = (
            lambda url, place: tell_counts(url, place, 100, 1000),
            lambda url, place: tell_counts(url, place, 10_000, 10),
            mark_orders,
        )
        rows = []
        for number, measured in enumerate(measurements):
            # A broker each: a store that is new at a broker that is not is refused.
            async with PrivateNode(folder / f"broker-{number}") as node:
                rows.append(await measured(node.url, folder / f"hub-{number}"))
    return report(rows)


def main() -> int:
    """Run and give the exit status."""
    return exit_status(lambda: asyncio.run(measure()))


if __name__ == "__main__":
    sys.exit(main())
