"""Does what goes wrong beside a client delay it? A quiet hub against a disturbed one, on the same load.

    python -m bench.contagion     ends with 1 when a limit is missed, within four minutes

Both hubs tell three clients of units and a vendor account of stock counts. On the disturbed one the account takes every
call and answers none, one client answers 500 to all, one message of a hundred is poison, and a message waits on the last
rung. What is measured is the way from the publish to the client that is well, p99. The runs take turns, so that what
else the machine does meets both; the ratio is the promise, the milliseconds are the machine's.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from pydantic import SecretStr

from bench.clients import UNIT_MOVED, Stopwatch, arrivals, at_rate, quantile, settings_of, unit
from bench.processes import SAMPLE_SECONDS, Hub, exit_status, hub, hub_environment
from hub.amqp.sending.client_session import ClientSession, client_session
from hub.cli.output.printing import print_table
from hub.config.broker import Broker
from hub.config.settings import Retry
from hub.local_broker.node import PrivateNode
from hub.messaging.message import Message
from hub.models.events import FULFILLMENT
from hub.sandbox import Fault, Faults, RetailopsSandbox, WebhookReceiver
from hub.topology import rung_name

RATIO_LIMIT = 1.5
# Each run: so many units, evenly; and so many before them that do not count, since a new process is slow.
UNITS, PER_SECOND, WARM_UP = 500, 25.0, 50
ROUNDS = 2
# One message of so many is poison, and one of so many a stock count for the account that hangs.
POISON_EVERY, COUNT_EVERY = 100, 5
# After the last unit; on a busy machine the tail is long.
_LATE_SECONDS = 30.0
_FLOWS = ("deliver_webhooks", "advise_inventory")
_WELL = "well"


@dataclass(slots=True)
class Mode:
    """A kind of run, and what was measured in it, in seconds."""

    name: str
    disturbed: bool
    seconds: list[float] = field(default_factory=list)
    poison: int = 0
    failed_posts: int = 0
    hanging_calls: int = 0

    @property
    def p99(self) -> float:
        """What 99 of 100 units do not take longer than."""
        return quantile(self.seconds, 0.99)


@dataclass(frozen=True, slots=True)
class Beside:
    """The partners of a run."""

    well: WebhookReceiver
    failing: WebhookReceiver
    third: WebhookReceiver
    account: RetailopsSandbox

    def settings(self) -> dict[str, str]:
        """Give the environment of their hub."""
        return settings_of((self.well, self.failing, self.third)) | {
            "HUB_RETAILOPS__BASE_URL": self.account.base_url,
            "HUB_RETAILOPS__API_KEY": self.account.api_key,
            "HUB_RETAILOPS__VENDOR_ID": self.account.vendor_id,
        }


@asynccontextmanager
async def beside(*, disturbed: bool) -> AsyncIterator[Beside]:
    """Run the partners."""
    never = asyncio.Event()

    async def hang(_: float) -> None:
        await never.wait()

    faults = Faults(rate=float(disturbed), kinds=(Fault.slow,), limit=sys.maxsize, sleep=hang)
    async with AsyncExitStack() as stack:
        account = await stack.enter_async_context(RetailopsSandbox(faults=faults))
        well, failing, third = [
            await stack.enter_async_context(WebhookReceiver(name)) for name in (_WELL, "failing", "third")
        ]
        if disturbed:
            failing.respond(500, sys.maxsize)
        stack.callback(never.set)
        yield Beside(well, failing, third, account)


async def run(mode: Mode, broker_url: str, folder: Path) -> None:
    """Measure one run, and add to what is known of its mode.

    Raises:
        BenchmarkError: the client that is well did not get everything.
    """
    async with beside(disturbed=mode.disturbed) as partners:
        environ = hub_environment(folder, broker_url) | partners.settings()
        with hub(folder, environ, *_FLOWS) as measured:
            await measured.ready()
            async with client_session(Broker(url=SecretStr(broker_url)), name="bench") as errand_:
                if mode.disturbed:
                    await _leave_on_the_last_rung(errand_)
                warm, counted = Stopwatch(), Stopwatch()
                await at_rate(WARM_UP, PER_SECOND, lambda n: warm.publish(errand_, f"warm-{n}"))
                await at_rate(UNITS, PER_SECOND, lambda n: _publish(errand_, counted, mode, n))
            await _all_there(counted, partners.well, measured)
        mode.seconds += counted.seconds(arrivals(partners.well)).values()
        mode.failed_posts += len([item for item in partners.failing.attempts if item.status == 500])
        mode.hanging_calls += sum(partners.account.faults.injected.values())


async def _publish(errand_: ClientSession, watch: Stopwatch, mode: Mode, number: int) -> None:
    await watch.publish(errand_, f"unit-{number}")
    if number % COUNT_EVERY == 0:
        body = orjson.dumps({"items": [{"sku": f"NF-{number:04}", "quantity": number}]})
        count = Message(body, content_type="application/json", message_id=f"count-{number}")
        await errand_.send(count, exchange=FULFILLMENT, routing_key="inventory.counted")
    if mode.disturbed and number % POISON_EVERY == 0:
        poison = Message(b'{"optiturn_lp": ', content_type="application/json", message_id=f"poison-{number}")
        await errand_.send(poison, exchange=FULFILLMENT, routing_key=UNIT_MOVED)
        mode.poison += 1


async def _leave_on_the_last_rung(errand_: ClientSession) -> None:
    """Leave a message where its fifth retry waits; it comes long after the run."""
    await errand_.send(
        unit("waiting"), exchange=rung_name(Retry().waits[-1]), routing_key=f"hub.webhook.{_WELL}"
    )


async def _all_there(watch: Stopwatch, receiver: WebhookReceiver, measured: Hub) -> None:
    deadline = time.monotonic() + _LATE_SECONDS
    while (there := len(watch.seconds(arrivals(receiver)))) < UNITS:
        if time.monotonic() > deadline:
            raise measured.failed(f"has delivered {there} of {UNITS} units to the client that is well")
        await measured.watch(SAMPLE_SECONDS)


def report(modes: Sequence[Mode]) -> bool:
    """Print the table; tells whether the limit holds."""
    quiet, disturbed = modes
    ratio = disturbed.p99 / quiet.p99
    print_table(
        ("event to webhook of the client that is well", *(mode.name for mode in modes)),
        [
            ("units", *(len(mode.seconds) for mode in modes)),
            ("units/s", *(f"{PER_SECOND:g}" for _ in modes)),
            ("beside it: calls that hang", *(mode.hanging_calls for mode in modes)),
            ("beside it: posts answered 500", *(mode.failed_posts for mode in modes)),
            ("beside it: poison messages", *(mode.poison for mode in modes)),
            *(
                (f"p{share * 100:g}", *(f"{quantile(mode.seconds, share) * 1000:.0f} ms" for mode in modes))
                for share in (0.5, 0.9, 0.99)
            ),
            ("slowest", *(f"{max(mode.seconds) * 1000:.0f} ms" for mode in modes)),
            (
                f"p99, disturbed to quiet, at most {RATIO_LIMIT:g}",
                "",
                f"{ratio:.2f} {'ok' if ratio <= RATIO_LIMIT else 'MISSED'}",
            ),
        ],
    )
    return ratio <= RATIO_LIMIT


async def measure() -> bool:
    """Run all rounds and print what came of them; tells whether the limit holds."""
    modes = (Mode("quiet", disturbed=False), Mode("disturbed", disturbed=True))
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as name:
        for number in range(ROUNDS):
            for mode in modes:
                place = Path(name) / f"{mode.name}-{number}"
                # A broker each: a store that is new at a broker that is not is refused.
                async with PrivateNode(place / "broker") as node:
                    await run(mode, node.url, place)
    return report(modes)


def main() -> int:
    """Run and give the exit status."""
    return exit_status(lambda: asyncio.run(measure()))


if __name__ == "__main__":
    sys.exit(main())
