"""Canaries through a whole hub process: in settings, feed, messages and answers, and in nothing that comes out."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from html import escape
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from hub.cli.up.sandbox_scenario import _MALFORMED
from hub.sandbox import ApiKey, OAuth2
from hub.sandbox.iqmetrix.orders import _PEOPLE, _PLACES
from tests.broker.rig import depth, letters, outsider, send
from tests.collector import collecting
from tests.eventually import eventually
from tests.flows.rig import HubProcess, Stage, staged

NAME = "Wilhelmina Canary"
# In fields that are not for persons: `hub letters show` shows those of a body, and nothing else may.
MISPLACED = "Quetzalcoatlus"
DEAD = ("hub.webhook.northwind.dead", "hub.webhook.acme.dead", "hub.iqmetrix.orders.dead")


@asynccontextmanager
async def echoing() -> AsyncIterator[str]:
    """A client that answers with all it was sent, and with a person it knows."""

    async def answer(request: web.Request) -> web.Response:
        said = f"{NAME}: {dict(request.headers)} {await request.text()}"
        return web.Response(status=422, text=f"<html><p>{escape(said)}</p></html>", content_type="text/html")

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    server = TestServer(application)
    await server.start_server()
    try:
        yield str(server.make_url("/hooks/confirmation?key=canary-in-the-query"))
    finally:
        await server.close()


async def test_no_canary_comes_out_of_a_hub_process(broker_url: str, tmp_path: Path) -> None:
    async with (
        collecting() as collector,
        echoing() as echo,
        staged(broker_url, tmp_path, orders=6, seed=4) as stage,
    ):
        hub = stage.hub
        hub.environ |= {
            "HUB_WEBHOOKS__1__CONFIRMATION_URL": echo,
            "HUB_TELEMETRY__OTLP_ENDPOINT": collector.url,
            "HUB_RETRY__WAITS": '["50ms"]',
            "HUB_LOG__FORMAT": "json",
            "HUB_LOG__LEVEL": "debug",
            "NO_PROXY": "127.0.0.1",
        }
        entry = _MALFORMED.format(at="2024-05-14T16:02:09Z").replace("no-lines", f"no-lines {MISPLACED}")
        stage.scene.iqmetrix.add_entry_xml(entry)
        stage.scene.iqmetrix.add_orders(4)
        hub.start()
        await eventually(hub.ready, within=40)
        await _send_broken_messages(broker_url)
        for queue in DEAD:
            await eventually(partial(_lies, broker_url, queue), within=40, because=queue)
        shown = await _probed(hub)
        dead = [letter for queue in DEAD for letter in await letters_kept(broker_url, queue)]
        shown["headers of letters"] = str([letter.headers for letter in dead])
        shown |= await asyncio.to_thread(_desk, hub)
        assert await asyncio.to_thread(hub.stop) == 0
        shown |= {"log": hub.log, "spans": repr(collector.raw), "timeline": _timeline(tmp_path)}

    private = _private(stage, broker_url)
    leaks = {(name, word) for name, text in shown.items() for word in private if word in text}
    leaks |= {(name, MISPLACED) for name, text in shown.items() if MISPLACED in text and "show" not in name}
    assert leaks == set()
    assert all(shown.values())


async def _send_broken_messages(broker_url: str) -> None:
    order = {"order_id": "iqmetrix:71204:unknown", "ship_to": {"name": NAME}}
    bodies = (
        {**order, "packages": [{"carrier": {"name": NAME}, "tracking_number": MISPLACED}]},
        {**order, "packages": MISPLACED, "note": NAME},
        {"order_id": MISPLACED, "packages": [{"carrier": "UPS", "tracking_number": "1Z"}]},
        f"{NAME} is no JSON",
    )
    async with outsider(broker_url) as channel:
        for body in bodies:
            written = body if isinstance(body, str) else json.dumps(body)
            await send(
                channel,
                "hub.fulfillment",
                "order.shipped",
                written.encode(),
                content_type="application/json",
                headers={"traceparent": "nonsense"},
            )


async def _lies(broker_url: str, queue: str) -> bool:
    return await depth(broker_url, queue) > 0


async def letters_kept(broker_url: str, queue: str):
    """The letters of a queue, taken and put back."""
    taken = await letters(broker_url, queue)
    async with outsider(broker_url) as channel:
        for letter in taken:
            await channel.default_exchange.publish(letter, queue)
    return taken


async def _probed(hub: HubProcess) -> dict[str, str]:
    shown = {}
    async with aiohttp.ClientSession() as session:
        for path in ("metrics", "readyz"):
            async with session.get(f"http://127.0.0.1:{hub.environ['HUB_HTTP__PORT']}/{path}") as answer:
                shown[path] = await answer.text()
    return shown


def _desk(hub: HubProcess) -> dict[str, str]:
    listed = hub.desk("letters", "list", "--each", "--json")
    ids = [group["letters"][0]["id"] for group in json.loads(listed.stdout)]
    orders = hub.desk("orders", "list", "--json")
    newest = json.loads(orders.stdout)[0]["order_id"]
    commands = {
        "letters list": listed,
        **{f"letters show {letter_id}": hub.desk("letters", "show", letter_id) for letter_id in ids[:3]},
        "orders list": orders,
        "orders show": hub.desk("orders", "show", newest),
        "config show": hub.desk("config", "show"),
    }
    return {name: done.stdout + done.stderr for name, done in commands.items()}


def _timeline(folder: Path) -> str:
    with sqlite3.connect(folder / "hub.db") as database:
        return repr(database.execute("SELECT * FROM timeline").fetchall())


def _private(stage: Stage, broker_url: str) -> list[str]:
    iqmetrix, (acme, northwind) = stage.scene.iqmetrix, stage.scene.receivers
    assert isinstance(acme.auth, OAuth2)
    assert isinstance(northwind.auth, ApiKey)
    secrets = [iqmetrix.password, iqmetrix.client_secret, northwind.signing_secret, acme.auth.client_secret]
    secrets += [northwind.auth.key, urlsplit(broker_url).password, "canary-in-the-query"]
    persons = [NAME, "Wilhelmina", *(family for _, family in _PEOPLE)]
    persons += [place[position] for place in _PLACES for position in (6, 7)]
    # The sandbox has a password that is a word of every address.
    return [text for text in (*secrets, *persons) if text and text != "example"]
