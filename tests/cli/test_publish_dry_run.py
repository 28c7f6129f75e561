"""`hub publish --dry-run` says what each consumer would do, and publishes nothing."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from hub.contract.examples import EXAMPLES
from hub.state.store import SqlStore
from tests.cli.conftest import Hub

CREATED = EXAMPLES[0].event()
SHIPPED = {
    "order_id": CREATED.order_id,
    "packages": [{"carrier": "UPS", "tracking_number": "1Z863YY60392796356"}],
}
InStore = Callable[[Callable[[SqlStore], Awaitable[object]]], None]


@pytest.fixture
def recorded(in_store: InStore) -> None:
    in_store(lambda store: store.record_orders([CREATED]))


@pytest.fixture
def dry_run(hub: Hub) -> Callable[..., str]:
    def run(kind: str, data: object, **environment: str) -> str:
        result = hub("publish", kind, "--dry-run", stdin=json.dumps(data), **environment)
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


@pytest.mark.usefixtures("recorded")
def test_each_consumer_and_client_has_a_line(dry_run: Callable[..., str]) -> None:
    said = dry_run("order.shipped", SHIPPED)

    assert "hub.iqmetrix.update-order-status\tcall iqmetrix, computed from the recorded order" in said
    assert "hub.retailops.complete-purchase-order\tnothing: the order is one of iqmetrix" in said
    assert "hub.webhook.acme\tsend 1 confirmation" in said


@pytest.mark.usefixtures("recorded")
def test_a_field_that_no_default_fills_is_named(dry_run: Callable[..., str], tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text('[[webhooks]]\nname = "acme"\nconfirmation_url = "https://acme.test/hooks"\n')

    said = dry_run("order.shipped", SHIPPED, HUB_CONFIG=str(file))

    assert "dead letter: no value for shipment.channel, " in said


@pytest.mark.usefixtures("recorded")
def test_an_event_that_does_not_fit_the_order_is_a_dead_letter(dry_run: Callable[..., str]) -> None:
    said = dry_run(
        "order.cancelled", {"order_id": CREATED.order_id, "lines": [{"sku": "NONE", "quantity": 1}]}
    )

    assert "dead letter: lines.0.sku" in said


def test_an_unknown_order_is_waited_for(dry_run: Callable[..., str], in_store: InStore) -> None:
    in_store(lambda store: store.newest_orders())

    assert "wait for the order, which is not recorded here" in dry_run("order.shipped", SHIPPED)
