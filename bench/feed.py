"""A page of the feed to events: the hub beside the least that can do it, and beside feedparser.

    python -m bench.feed          ends with 1 when a ratio is missed, within half a minute

All take turns on the same page (50 entries, some 100 KB, as the simulated iQmetrix serves it), so that what else the
machine does falls on all of them. The ratios are of processor time.

    hub           parse_page and to_item: bounds, namespaces, faults per entry, validated events
    hub, encoded  the same and codec.encode: what a poll does with a page before it publishes
    floor         lxml, a dict per element and pydantic on the same model: no bounds, no checks, no words for a fault
    lxml+pydantic the parse and the validation alone, of values that lie ready
    feedparser    the usual library, in its own process: gives the entries' heads; it validates nothing, and of the
                  content, which is XML of its own here, it makes no fields
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from lxml import etree
from pydantic import SecretStr

from bench.processes import BenchmarkError, contender, exit_status
from bench.rows import RATIO_COLUMNS, Ratio, median, spread
from hub.cli.output.printing import print_table
from hub.config.settings import Iqmetrix
from hub.messaging import cloudevents
from hub.models.events import AnyEvent, OrderCreated
from hub.partners.iqmetrix.feed import parse_page
from hub.partners.iqmetrix.translate import to_item
from hub.sandbox import IqmetrixSandbox

ENTRIES = 50
ROUNDS = 15
# Pages of one turn: some 100 ms for the hub, so that the clock's grain and one interruption count for little.
PAGES = 10
AGAINST_FLOOR, AGAINST_FEEDPARSER = 0.6, 40.0

_ATOM = "{http://www.w3.org/2005/Atom}"


@dataclass(slots=True)
class Times:
    """Seconds for one page, of each round."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def turn(self, work: Callable[[], object]) -> None:
        """Time some pages of work."""
        wall, processor = time.perf_counter(), time.process_time()
        for _ in range(PAGES):
            work()
        self.processor.append((time.process_time() - processor) / PAGES)
        self.wall.append((time.perf_counter() - wall) / PAGES)


async def page_of(settings_for: Callable[[IqmetrixSandbox], Iqmetrix]) -> tuple[bytes, Iqmetrix]:
    """Fetch a full page from the simulated partner."""
    async with IqmetrixSandbox(seed=1) as iqmetrix, aiohttp.ClientSession() as session:
        iqmetrix.add_orders(ENTRIES)
        grant = {
            "grant_type": "password",
            "username": iqmetrix.username,
            "password": iqmetrix.password,
            "client_id": iqmetrix.client_id,
            "client_secret": iqmetrix.client_secret,
        }
        async with session.post(iqmetrix.token_url, data=grant) as answer:
            token = (await answer.json())["access_token"]
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/atom+xml"}
        url = f"{iqmetrix.base_url}/Suppliers({iqmetrix.supplier_id})/Notifications"
        async with session.get(url, headers=headers) as answer:
            return await answer.read(), settings_for(iqmetrix)


def settings_of(iqmetrix: IqmetrixSandbox) -> Iqmetrix:
    """Give the settings of a hub that polls this partner."""
    return Iqmetrix(
        base_url=iqmetrix.base_url,
        token_url=iqmetrix.token_url,
        supplier_id=iqmetrix.supplier_id,
        username=iqmetrix.username,
        password=SecretStr(iqmetrix.password),
        client_id=iqmetrix.client_id,
        client_secret=SecretStr(iqmetrix.client_secret),
        currency="USD",
    )


def by_hub(body: bytes, settings: Iqmetrix) -> list[AnyEvent]:
    """Make events of a page as a poll does."""
    items = (to_item(entry, settings) for entry in parse_page(body, settings.limits).entries)
    return [item.event for item in items if item.event is not None]


# --- the floor


def values_of(body: bytes, account: str) -> Iterator[dict[str, Any]]:
    """Give what the same model is validated from, taken out of the page in the plainest way."""
    for entry in etree.fromstring(body).iter(f"{_ATOM}entry"):
        head = {child.tag: child for child in entry}
        texts, parts = _plain(head[f"{_ATOM}content"][0])
        seller, address, customer = (
            parts["seller"][0],
            parts["shipping-address"][0],
            parts["shipping-customer"][0],
        )
        yield {
            "order_id": f"iqmetrix:{account}:{texts['order-id']}",
            "source": "iqmetrix",
            "source_account": account,
            "source_order_id": texts["order-id"],
            "source_event_id": head[f"{_ATOM}id"].text,
            "order_number": seller["printable-id"],
            "po_reference": seller["po-reference"],
            "seller": {"company_id": seller["company-id"], "location_id": seller["location-id"]},
            "created_at": head[f"{_ATOM}updated"].text,
            "ship_to_store": texts["ship-to-store"],
            "shipping_method_code": texts["shipping-method"],
            "ship_to": {
                "name": address["attention-to"],
                "phone": address["phone"],
                "street1": address["street-address-1"],
                "street2": address["street-address-2"],
                "city": address["locality"],
                "region": address["region"],
                "region_code": address["region-code"],
                "postal_code": address["postal-code"],
                "country": address["country"],
                "country_code": address["country-code"],
                "address_type": address["type"],
            },
            "customer": {
                "id": customer["customer-id"],
                "first_name": customer["primary-name"],
                "middle_name": customer["middle-name"],
                "last_name": customer["family-name"],
                "title": customer["title"],
                "alternate_name": customer["alternate-name"],
            },
            "currency": "USD",
            "lines": [_line(item) for item in parts["items"]],
        }


def _plain(content: Any) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    texts: dict[str, Any] = {}
    parts: dict[str, list[dict[str, Any]]] = {}
    for child in content:
        name = child.tag.rpartition("}")[2]
        if name == "items":
            parts[name] = [_texts(item) for item in child]
        elif len(child):
            parts[name] = [_texts(child)]
        else:
            texts[name] = child.text
    return texts, parts


def _texts(element: Any) -> dict[str, Any]:
    return {child.tag.rpartition("}")[2]: child.text for child in element}


def _line(item: Mapping[str, str]) -> dict[str, Any]:
    price, quantity = round(float(item["selling-price"]) * 100), int(item["quantity"])
    return {
        "line_id": item["catalog-id"],
        "sku": item["sku"],
        "catalog_id": item["catalog-id"],
        "description": item["description"],
        "quantity": quantity,
        "unit_price_cents": price,
        "line_total_cents": price * quantity,
    }


# --- the rounds


@contextmanager
def feedparser_on(body: bytes, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run feedparser on this page while the context lasts."""
    (folder / "page.xml").write_bytes(body)
    arguments = ["-m", "bench.contenders.feedparser_pages", str(folder / "page.xml")]
    with contender(arguments, folder, "feedparser", talks=True) as process:
        yield process


def feedparser_turn(process: subprocess.Popen[str], times: Times) -> None:
    """Let feedparser take one page.

    Raises:
        BenchmarkError: it ended, or found another number of entries.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    line = process.stdout.readline()
    said = json.loads(line) if line else {}
    if said.get("entries") != ENTRIES:
        raise BenchmarkError(
            f"feedparser: expected {ENTRIES} entries, got {said.get('entries', 'no answer')}"
        )
    times.wall.append(said["wall"])
    times.processor.append(said["processor"])


def measure(body: bytes, settings: Iqmetrix) -> Mapping[str, Times]:
    """Let all take turns."""
    account = settings.account
    ready = list(values_of(body, account))
    ours, theirs = by_hub(body, settings), [OrderCreated.model_validate(values) for values in ready]
    if sorted(event.order_id or "" for event in ours) != sorted(order.order_id for order in theirs):
        raise BenchmarkError("the hub and the floor read different orders in the same page")
    works: Mapping[str, Callable[[], object]] = {
        "hub": lambda: by_hub(body, settings),
        "hub, encoded": lambda: [cloudevents.encode(event) for event in by_hub(body, settings)],
        "floor": lambda: [OrderCreated.model_validate(values) for values in values_of(body, account)],
        "lxml+pydantic": lambda: (
            etree.fromstring(body),
            [OrderCreated.model_validate(values) for values in ready],
        ),
    }
    times = {name: Times() for name in (*works, "feedparser")}
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as name, feedparser_on(body, Path(name)) as process:
        # A round that does not count: imports, caches.
        for work in works.values():
            Times().turn(work)
        feedparser_turn(process, Times())
        for _ in range(ROUNDS):
            for who, work in works.items():
                times[who].turn(work)
            feedparser_turn(process, times["feedparser"])
    return times


def report(body: bytes, times: Mapping[str, Times]) -> bool:
    """Print both tables; tells whether every ratio holds."""
    print_table(
        (
            "page to events",
            "entries/s",
            "ms/page, processor",
            "middle half",
            "ms/page, wall",
            "wall's middle half",
        ),
        [
            (
                who,
                f"{ENTRIES / median(of.processor):.0f}",
                f"{median(of.processor) * 1000:.1f}",
                spread(of.processor),
                f"{median(of.wall) * 1000:.1f}",
                spread(of.wall),
            )
            for who, of in times.items()
        ],
        title=f"A page of {ENTRIES} entries, {len(body) / 1000:.0f} KB; medians of {ROUNDS} rounds",
    )
    ratios = [
        _ratio(times, "floor", AGAINST_FLOOR),
        _ratio(times, "feedparser", AGAINST_FEEDPARSER),
    ]
    print_table(RATIO_COLUMNS, [ratio.row() for ratio in ratios])
    return all(ratio.holds for ratio in ratios)


def _ratio(times: Mapping[str, Times], other: str, required: float) -> Ratio:
    pairs = zip(times[other].processor, times["hub"].processor, strict=True)
    return Ratio(other, [theirs / ours for theirs, ours in pairs], required)


def main() -> int:
    """Run and give the exit status."""

    def run() -> bool:
        body, settings = asyncio.run(page_of(settings_of))
        return report(body, measure(body, settings))

    return exit_status(run)


if __name__ == "__main__":
    sys.exit(main())
