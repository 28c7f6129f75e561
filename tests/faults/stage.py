"""The stage of one schedule: the partners with planned faults, the warehouse, and what must come of it all."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from hub.cli.up.sandbox_scenario import Scene, retailops_settings, scene_settings
from hub.config.settings import Settings
from hub.sandbox import ApiKey, IqmetrixSandbox, OAuth2, RetailopsSandbox, WebhookReceiver
from hub.sandbox.warehouse import Warehouse
from tests.broker.rig import broker_settings
from tests.faults.checker import Effect
from tests.faults.partners import PlannedFaults
from tests.faults.points import Fault, Plan

# Together longer than any fault of a plan lasts, so that what is only late is not taken for dead.
WAITS = ("100ms", "200ms", "400ms", "800ms", "1600ms")
# The broker is looked for again at once, then at most so long after each try.
RECONNECT_AT_MOST_SECONDS = 0.5


@asynccontextmanager
async def staged(
    plan: Plan,
    folder: Path,
    *,
    broker_url: str,
    passing: Callable[[str], Fault | None],
    kill: Callable[[Fault], None],
) -> AsyncIterator[Scene]:
    """Start the partners with half of the orders in them, and the warehouse on the broker itself (not behind a proxy)."""

    def faults(partner: str) -> PlannedFaults:
        return PlannedFaults(seed=plan.seed, partner=partner, passing=passing, kill=kill)

    async with AsyncExitStack() as stack:
        iqmetrix = IqmetrixSandbox(seed=plan.seed, page_size=4, faults=faults("iqmetrix"))
        acme = WebhookReceiver("acme", auth=OAuth2(), seed=plan.seed, faults=faults("acme"))
        northwind = WebhookReceiver("northwind", auth=ApiKey(), seed=plan.seed, faults=faults("northwind"))
        retailops = RetailopsSandbox(seed=plan.seed, faults=faults("retailops"))
        for server in (iqmetrix, acme, northwind, retailops):
            await server.start()
            stack.push_async_callback(server.stop)
        if plan.refusals:
            acme.respond(422, plan.refusals)
        values = settings_of(folder, iqmetrix, acme, northwind, retailops)
        warehouse = Warehouse(broker_settings(broker_url), seed=plan.seed, pause_seconds=0.02)
        running = asyncio.create_task(warehouse.run())
        stack.push_async_callback(_ended, running)
        await asyncio.wait_for(warehouse.listening(), 30)
        yield Scene(
            iqmetrix, (acme, northwind), warehouse, Settings(**values), plan.orders, retailops=retailops
        )


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def settings_of(
    folder: Path,
    iqmetrix: IqmetrixSandbox,
    acme: WebhookReceiver,
    northwind: WebhookReceiver,
    retailops: RetailopsSandbox,
) -> dict[str, Any]:
    """Give the settings of the hub, all times so short that a schedule takes seconds."""
    values = scene_settings(None, folder, iqmetrix, acme, northwind)
    values["retry"] = {"waits": WAITS}
    values["state"]["busy_timeout"] = "300ms"
    values["iqmetrix"][0] |= {"poll_every": "100ms", "timeout": "1s"}
    for client in values["webhooks"]:
        client["timeout"] = "1s"
    quick = {"poll_every": "100ms", "timeout": "1s", "batch_within": "50ms"}
    values["retailops"] = [retailops_settings(retailops) | quick]
    return values


def broker_table(url: str) -> dict[str, Any]:
    """Give the table [broker] of the hub."""
    return {
        "url": url,
        "publish_timeout": "1s",
        "reconnect_after": "100ms",
        "reconnect_at_most": f"{RECONNECT_AT_MOST_SECONDS}s",
        "drain": "5s",
        "heartbeat": 5,
    }


def plain(values: Any) -> Any:
    """Give settings as JSON can carry them."""
    if isinstance(values, Mapping):
        return {key: plain(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [plain(value) for value in values]
    return values.get_secret_value() if isinstance(values, SecretStr) else values


def effects_of(scene: Scene) -> dict[Effect, list[tuple[datetime, bool]]]:
    """When each effect was asked for at a partner, and whether the hub may have heard the answer."""
    effects: dict[Effect, list[tuple[datetime, bool]]] = {}
    for applied in scene.iqmetrix.updates:
        key = (f"iqmetrix {applied.path}", f"{applied.order_id} {applied.digest.hex()[:8]}")
        effects.setdefault(key, []).append((applied.at, applied.answered))
    for receiver in scene.receivers:
        for item in receiver.received:
            key = (f"webhook {item.webhook}", f"{receiver.name} {hash(item.body):x}")
            effects.setdefault(key, []).append((item.at, item.answered))
    assert scene.retailops is not None
    for call in scene.retailops.completions:
        effects.setdefault(("retailops Complete", call.completion.po), [(call.at, call.answered)])
    for number, effect in enumerate(scene.retailops.doubled()):
        effects[f"retailops {effect.operation}", f"{effect.po} {number}"] = effect.moments
    return effects


def regressions_of(scene: Scene) -> list[str]:
    assert scene.retailops is not None
    return [*map(str, scene.iqmetrix.regressions()), *map(str, scene.retailops.regressions())]


def violations_of(scene: Scene) -> list[str]:
    servers: list[Any] = [scene.iqmetrix, scene.retailops, *scene.receivers]
    return [str(violation) for server in servers for violation in server.violations]
