"""The guide for a new partner, followed step by step: what it says is enough, and works on a real broker."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aio_pika
import pytest

from tests.broker.rig import depth, letters, outsider, send
from tests.docs.guide import Block, blocks_of
from tests.eventually import eventually
from tests.flows.rig import HubProcess
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
GUIDE = blocks_of(ROOT / "docs" / "new-partner.md")
ORDER_ID = "toy:corner:T-1"
QUEUE = "hub.toy.report-shipments"
# What the architecture promises to be enough, beside new files.
TOUCHED = {"hub/config/settings.py", "producers/__init__.py", "consumers/__init__.py"}
# The ladder in small: five retries in half a second.
WAITS = ["50ms", "50ms", "100ms", "100ms", "200ms"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages with every block of the guide applied."""
    folder = tmp_path_factory.mktemp("guided")
    for package in ("hub", "producers", "consumers"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "pyproject.toml", folder)
    if (ROOT / ".mypy_cache").is_dir():
        # Only for speed: then the partner's files alone are looked at.
        shutil.copytree(ROOT / ".mypy_cache", folder / ".mypy_cache")
    for block in GUIDE:
        block.apply(folder)
    return folder


def tool(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a module in the copy, with nothing of this checkout on its path."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HUB_", "PYTHONPATH"))}
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=clean | {"PYTHONPATH": str(folder)} | environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_only_files_that_are_edited_are_those_of_the_promise() -> None:
    edits = {block.file: block for block in GUIDE if block.kind == "diff"}

    assert edits.keys() == TOUCHED
    for table in ("producers", "consumers"):
        rows = [
            line
            for line in edits[f"{table}/__init__.py"].body.splitlines()
            if line[:1] == "+" and "FLOW" in line
        ]
        assert len(rows) == 1


def test_a_step_whose_place_is_gone_fails_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "table.py").write_text("other_flow.FLOW,\n")
    step = Block("diff", "table.py", "@@\n last_flow.FLOW,\n+new_flow.FLOW,\n")

    with pytest.raises(AssertionError, match=r"table.py: expected this once, found it 0 times"):
        step.apply(tmp_path)


def test_the_partner_is_formatted_linted_and_keeps_the_import_contracts(folder: Path) -> None:
    files = [block.file for block in GUIDE if block.file.endswith(".py")]

    formatted = tool(folder, "-m", "ruff", "format", "--check", "--no-cache", *files)
    linted = tool(folder, "-m", "ruff", "check", "--no-cache", *files)
    contracts = tool(folder, "-c", "from importlinter.cli import lint_imports_command as lint; lint()")

    assert (formatted.returncode, formatted.stdout) == (0, f"{len(files)} files already formatted\n")
    assert (linted.returncode, linted.stdout) == (0, "All checks passed!\n")
    assert contracts.returncode == 0, contracts.stdout


def test_the_types_of_the_partner_are_strict(folder: Path) -> None:
    files = [block.file for block in GUIDE if block.file.endswith(".py")]

    checked = tool(folder, "-m", "mypy", *files)

    assert checked.returncode == 0, checked.stdout


def test_the_settings_and_the_map_know_the_partner(folder: Path) -> None:
    checked = tool(folder, "-m", "hub", "config", "check")
    exported = tool(folder, "-m", "hub", "topology", "export")

    assert (checked.returncode, checked.stdout) == (0, "settings are fine\n"), checked.stderr
    queues = {queue["name"] for queue in json.loads(exported.stdout)["queues"]}
    assert {"hub.toy.orders", "hub.toy.orders.dead", QUEUE, f"{QUEUE}.dead"} <= queues


@dataclass
class Stage:
    """A hub process that was built from the guide, beside the guide's simulated partner."""

    hub: HubProcess
    toy: Any
    broker_url: str

    async def ship(self, shipment: str, order_id: str = ORDER_ID) -> None:
        body = {"order_id": order_id, "packages": [{"carrier": "UPS", "tracking_number": "1Z863YY60392796356",
                "items": [{"line_id": "T-1:1", "quantity": 1}]}]}  # fmt: skip
        async with outsider(self.broker_url) as channel:
            await send(
                channel, "hub.fulfillment", "order.shipped", json.dumps(body).encode(),
                message_id=shipment, content_type="application/json",
            )  # fmt: skip


@pytest.fixture
async def stage(folder: Path, tmp_path: Path, broker_url: str) -> AsyncIterator[Stage]:
    toy = _sandbox(folder)("CHANGE-ME")
    await toy.start()
    hub = HubProcess(
        tmp_path,
        {
            "PYTHONPATH": str(folder),
            "HUB_CONFIG": str(folder / "hub.toml"),
            "HUB_BROKER__URL": broker_url,
            "HUB_STATE__URL": f"sqlite+aiosqlite:///{tmp_path}/hub.db",
            "HUB_HTTP__HOST": "127.0.0.1",
            "HUB_HTTP__PORT": str(free_port()),
            "HUB_RETRY__WAITS": json.dumps(WAITS),
            "HUB_TOY__BASE_URL": toy.base_url,
            "HUB_TOY__POLL_EVERY": "100ms",
        },
        names=("toy_orders", "report_shipments"),
    )
    hub.start()
    try:
        await eventually(hub.ready, within=60)
        yield Stage(hub, toy, broker_url)
    finally:
        hub.kill()
        await toy.stop()


async def test_an_order_flows_out_a_shipment_flows_in_and_a_failing_call_becomes_a_letter(
    stage: Stage,
) -> None:
    async with outsider(stage.broker_url) as channel:
        ours = await channel.declare_queue("svc.test", exclusive=True)
        await ours.bind("hub.orders", "order.created.toy")
        items = [{"sku": "NF-CHG-30", "units": 2, "price": "19.90"}]
        stage.toy.orders += [
            {"id": "T-1", "placed_at": "2026-03-01T10:00:00Z", "items": items},
            {"id": "T-2", "placed_at": "2026-03-01T10:00:01Z", "items": []},
        ]
        created: list[aio_pika.abc.AbstractIncomingMessage] = []

        async def heard() -> bool:
            message = await ours.get(fail=False, no_ack=True)
            created.extend([message] if message is not None else [])
            return message is not None

        await eventually(heard, within=20)

    assert json.loads(created[0].body)["data"]["order_id"] == ORDER_ID
    await eventually(lambda: _lies(stage.broker_url, "hub.toy.orders.dead"))
    (unreadable,) = await letters(stage.broker_url, "hub.toy.orders.dead")
    assert str(unreadable.headers["x-hub-reason"]).startswith("items: Tuple should have at least 1 item")

    await stage.ship("shipment-1")
    await stage.ship("shipment-1")
    await eventually(lambda: ("T-1", "shipment-1") in stage.toy.shipments)

    assert stage.toy.shipments["T-1", "shipment-1"] == {
        "parcels": [{"carrier": "UPS", "tracking": "1Z863YY60392796356"}]
    }

    calls = stage.toy.attempts
    stage.toy.failing = 503
    await stage.ship("shipment-2")
    await eventually(lambda: _lies(stage.broker_url, f"{QUEUE}.dead"), within=20)

    assert calls == 1
    assert stage.toy.attempts - calls == 1 + len(WAITS)
    (letter,) = await letters(stage.broker_url, f"{QUEUE}.dead")
    assert letter.headers["x-hub-reason"] == "gave up after 6 attempts: toy answered 503 to a shipment"
    assert letter.headers["x-hub-queue"] == QUEUE


async def _lies(url: str, queue: str) -> bool:
    return await depth(url, queue) == 1


def _sandbox(folder: Path) -> Any:
    """The guide's simulated partner, loaded beside the hub of this checkout, which does not have it."""
    spec = importlib.util.spec_from_file_location("guided_toy_sandbox", folder / "hub/sandbox/toy.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ToySandbox
