"""Hostile answers of RetailOps: other work goes on while the largest are read, and each is one fault."""

import asyncio
import time
import tracemalloc

import pytest

from hub.errors import HubError
from hub.partners.retailops.client import RetailopsClient
from tests.partners.retailops.samples import settings
from tests.raw_server import raw_server

MOST = 4 * 1024 * 1024
# Ten times the budget: a busy machine does not reach it, and reading in one piece does.
BOUND_SECONDS = 1.0
RECORD = b'{"po":"D1","date_submit":"2024-05-14","items":[{"po_item_id":1,"vpc":"A","quantity":1}]},'


def filled(unit: bytes, head: bytes = b'{"success":1,"records":[', tail: bytes = b"1]}") -> bytes:
    return head + unit * ((MOST - len(head) - len(tail)) // len(unit)) + tail


@pytest.mark.parametrize(
    "body",
    [
        filled(RECORD),
        filled(b"[],"),
        filled(b"0,"),
        filled(b'"a",'),
        filled(b"[" * 200),
        filled(b'\\"', head=b'{"records":["', tail=b'"]}'),
        filled(b"x" * 4096, head=b'{"records":[{"note":"', tail=b'\xff"}]}'),
        filled(b"9" * 4096, head=b'{"records":[', tail=b"]}"),
        b'{"records":[' + RECORD * 30_000 + b"1]}",
    ],
    ids=["records", "lists", "numbers", "texts", "deep", "escapes", "text", "number", "30,000 records"],
)
async def test_other_work_goes_on_while_a_page_is_read(body: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with raw_server(head + body) as server:
        client = RetailopsClient(settings(base_url=server.url.rstrip("/")))
        tracemalloc.start()
        reading = asyncio.create_task(_fetched(client))

        longest = 0.0
        while not reading.done():
            begun = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - begun)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        await client.close()

    assert reading.result()
    assert longest < BOUND_SECONDS
    assert most < 200 * 2**20


async def _fetched(client: RetailopsClient) -> object:
    try:
        return await client.fetch(0, 100)
    except HubError as error:
        return error
