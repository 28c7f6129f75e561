import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hub.models.events import Event, OrderCreated, OrderShipped
from hub.state.protocols import TimelineEntry
from hub.state.store import SqlStore
from tests.cli.conftest import EXAMPLE, Hub

AT = datetime(2026, 5, 1, tzinfo=UTC)


def created(number: int, sku: str = "A-1") -> Event[Any]:
    order_id = f"iqmetrix:71204:order-{number}"
    data = {
        "order_id": order_id,
        "source": "iqmetrix",
        "source_account": "71204",
        "source_order_id": f"order-{number}",
        "source_event_id": f"urn:uuid:{number}",
        "order_number": f"DS-{number}",
        "created_at": AT,
        "ship_to": {"name": "Dana Whitfield"},
        "lines": [{"line_id": "1", "sku": sku, "quantity": 3}],
    }
    return Event(f"e-{number}", "order.created", "/test", order_id, AT, OrderCreated.model_validate(data))


def shipped(number: int) -> Event[Any]:
    order_id = f"iqmetrix:71204:order-{number}"
    items = [{"line_id": "1", "quantity": 2}]
    package = {"package_id": "p-1", "carrier": "UPS", "tracking_number": "1Z999", "items": items}
    data = OrderShipped.model_validate({"order_id": order_id, "packages": [package]})
    return Event(f"s-{number}", "order.shipped", "/test", order_id, AT, data)


@pytest.fixture
def two_orders(in_store: Callable[..., None]) -> None:
    async def record(store: SqlStore) -> None:
        await store.record_orders([created(1), created(2, sku="B-2")])
        await store.apply(shipped(1))
        await store.add_to_timeline(
            [TimelineEntry("iqmetrix:71204:order-1", AT, "published", {"type": "order.created"})]
        )

    in_store(record)


@pytest.mark.usefixtures("two_orders")
@pytest.mark.parametrize("text", ["iqmetrix:71204:order-1", "order-1", "DS-1", "1Z999", "A-1"])
def test_an_order_is_found_by_every_name_people_know_it_by(hub: Hub, text: str) -> None:
    result = hub("orders", "show", text, "--json")

    assert result.exit_code == 0
    shown = json.loads(result.stdout)
    assert shown["order_id"] == "iqmetrix:71204:order-1"
    assert (shown["shipped"], shown["left"], shown["state"]) == (2, 1, "partially shipped")
    assert shown["packages"][0]["tracking_number"] == "1Z999"
    assert [entry["what"] for entry in shown["timeline"]][-1:] == ["published"]


@pytest.mark.usefixtures("two_orders")
def test_show_prints_lines_packages_and_timeline_and_nobody_s_name(hub: Hub) -> None:
    result = hub("orders", "show", "DS-1")

    for text in ("Lines", "Packages", "Timeline", "2 of 1", "published order.created"):
        assert text in result.stdout
    assert "Dana" not in result.output


@pytest.mark.usefixtures("two_orders")
def test_list_shows_the_newest_or_those_that_fit(hub: Hub) -> None:
    newest = json.loads(hub("orders", "list", "--json").stdout)
    fitting = json.loads(hub("orders", "list", "B-2", "--json").stdout)

    assert {order["order_id"] for order in newest} == {"iqmetrix:71204:order-1", "iqmetrix:71204:order-2"}
    assert [order["order_id"] for order in fitting] == ["iqmetrix:71204:order-2"]


@pytest.mark.usefixtures("two_orders")
def test_an_order_that_is_not_there_is_said_to_be_not_there(hub: Hub) -> None:
    result = hub("orders", "show", "DS-9")

    assert result.exit_code == 1
    assert "'DS-9'" in result.stderr


def test_a_name_that_several_orders_share_is_answered_with_their_ids(
    hub: Hub, in_store: Callable[..., None]
) -> None:
    in_store(lambda store: store.record_orders([created(1), created(2)]))

    result = hub("orders", "show", "A-1")

    assert result.exit_code == 1
    assert sorted(result.stdout.splitlines()) == ["iqmetrix:71204:order-1", "iqmetrix:71204:order-2"]


VIEW = {
    "lines": {
        "1": {"status": "Shipped", "quantity": 3, "tracking": ["1Z"], "carriers": ["UPS"], "message": None}
    },
    "tracked_by_item": False,
}


@pytest.mark.parametrize("within", ["0", "1h", "0.000001s"])
def test_show_says_that_the_feed_has_not_shown_the_last_report(
    hub: Hub, in_store: Callable[..., None], tmp_path: Path, within: str
) -> None:
    in_store(lambda store: store.record_orders([created(1)]))
    in_store(lambda store: store.tell("iqmetrix", "iqmetrix:71204:order-1", VIEW, awaits_echo=True))
    is_late = within.startswith("0.")
    config = tmp_path / "hub.toml"
    config.write_text(EXAMPLE.read_text().replace('echo_within = "6h"', f'echo_within = "{within}"'))

    plain = hub("orders", "show", "DS-1", HUB_CONFIG=str(config))
    shown = json.loads(hub("orders", "show", "DS-1", "--json", HUB_CONFIG=str(config)).stdout)

    assert ("not shown by the feed since" in plain.stdout) == is_late
    assert (shown["unechoed"] or {}).get("reported") == (["Shipped"] if is_late else None)
