"""The code of the pages runs: each publisher is heard, each subscriber hears, each reason is the one that is quoted."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from hub.contract.examples import EXAMPLES
from tests.broker.rig import Handler, outsider, running, send
from tests.contract.conftest import ROOT
from tests.contract.rig import EVERYTHING, Block, blocks, dead_letters, listening_hub, run, started
from tests.contract.test_examples_reach_clients import webhooks_of
from tests.eventually import eventually

BLOCKS = blocks()
PUBLISHERS = [block for block in BLOCKS if "svc." not in block.code]
SUBSCRIBERS = [block for block in BLOCKS if "svc." in block.code]
IQMETRIX_ORDER = "iqmetrix:71204:7a0e5d1c-9d1e-4a77-b0f5-2f1c7a9e4d30"


def named(block: Block) -> str:
    return f"{Path(block.page).stem}-{block.language}-{block.line}"


@pytest.fixture
def ready(request: pytest.FixtureRequest) -> dict[str, str]:
    """What a block needs to run: its foreign programs, and where they are."""
    block: Block = request.getfixturevalue("block")
    if block.language == "js":
        request.getfixturevalue("node_js")
    return request.getfixturevalue("tools") if block.language == "sh" else {}


def test_the_pages_show_a_publisher_in_each_language_and_two_subscribers() -> None:
    assert {(block.page, block.language) for block in PUBLISHERS} >= {
        (page, language)
        for page in ("README.md", "docs/integration.md")
        for language in ("sh", "python", "js")
    }
    assert {block.language for block in SUBSCRIBERS} == {"python", "js"}


@pytest.mark.parametrize("block", PUBLISHERS, ids=named)
async def test_the_hub_hears_what_a_block_publishes(
    block: Block, ready: dict[str, str], broker_url: str
) -> None:
    async with listening_hub(broker_url) as handler:
        await run(block.language, block.code, broker_url, **ready)
        await eventually(lambda: len(handler.seen) == 1, because="the event of the block is heard")

    ((event, context),) = handler.seen
    assert event.type == block.line
    assert event.order_id in (IQMETRIX_ORDER, None)
    assert context.attempt == 1
    # Complete for every client of the example's settings: else it would become a dead letter there.
    webhooks_of(event)
    if ids := re.findall(r'(?:message_id=|messageId: |"id": )"([^"]+)"', block.code):
        assert event.id == ids[0]


@pytest.mark.parametrize("block", SUBSCRIBERS, ids=named)
async def test_a_block_that_subscribes_reads_the_order_that_the_hub_publishes(
    block: Block, ready: dict[str, str], broker_url: str
) -> None:
    order = EXAMPLES[0].event()

    async with (
        running(broker_url, Handler(), queue=EVERYTHING) as rig,
        started(block.language, block.code, broker_url) as program,
    ):
        await program.says("listening")
        await rig.publisher.publish(order)
        said = await program.ended()

    assert f"{order.id} {order.order_id}" in said
    for line in order.data.lines:
        assert re.search(rf"'{line.sku}', {line.quantity}\b", said), said


async def test_the_reasons_that_the_page_quotes_are_those_of_the_letters(broker_url: str) -> None:
    page = (ROOT / "docs" / "integration.md").read_text(encoding="utf-8")
    order = b'"order_id": "%b"' % IQMETRIX_ORDER.encode()
    bad: list[tuple[bytes, dict[str, Any]]] = [
        (b'{%b, "lines": [{"sku": "NF-CHG-30", "quantity": 0}]}' % order, {}),
        (b'{"order_id": "iqmetrix:71204"}', {}),
        (b"{%b}" % order, {"type": "order.shipped"}),
    ]

    async with listening_hub(broker_url), outsider(broker_url) as channel:
        for body, properties in bad:
            await send(channel, "hub.fulfillment", "order.cancelled", body, **properties)
        found = await dead_letters(broker_url, len(bad))

    reasons = {str(letter.headers["x-hub-reason"]) for letter in found}
    assert len(reasons) == 3
    for reason in reasons:
        assert f"\n{reason}\n" in page, reason


async def test_the_same_text_from_the_shell_twice_has_one_id(tools: dict[str, str], broker_url: str) -> None:
    (block,) = (
        block for block in PUBLISHERS if (block.page, block.language) == ("docs/integration.md", "sh")
    )

    async with listening_hub(broker_url) as handler:
        await asyncio.gather(*(run("sh", block.code, broker_url, **tools) for _ in range(2)))
        await eventually(lambda: len(handler.seen) == 2)

    assert len(set(handler.ids)) == 1
    assert handler.ids[0].startswith("sha256:")
