"""What a hub weighs while it works through a backlog of the largest messages that there may be.

    python -m bench.large_bodies [--messages N]     ends with 1 when the limit is missed, within two minutes

The messages lie in the queues before the hub starts: of every size that counts, some that are refused and some that are
tried again. Each consumer that hears them makes a letter of its own. The peak is the resident set as the kernel counts
it, against the memory of the container (`docker-compose.yml`).
"""

import argparse
import asyncio
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import orjson
from pydantic import SecretStr

from bench.processes import (
    SAMPLE_SECONDS,
    BenchmarkError,
    Hub,
    exit_status,
    hub,
    hub_environment,
    printed,
    running,
)
from bench.rows import megabytes, verdict
from hub.amqp.sending.client_session import ClientSession, client_session
from hub.cli.output.printing import print_table
from hub.config.broker import Broker
from hub.local_broker.node import PrivateNode
from hub.messaging.message import Message
from hub.models.events import FULFILLMENT
from hub.models.input.body_limits import LARGEST_BODY

# The memory of a hub container, in MB of 1,000,000 bytes.
LIMIT_MB = 512
# So many that the private broker (1 GB) runs into its memory alarm and blocks publishers.
MESSAGES = 200
_PATIENCE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Backlog:
    """What was worked through, in bytes and seconds."""

    letters: int
    peak: int
    seconds: float


def bodies() -> tuple[bytes, ...]:
    """Return one body of the largest size for each way it can go."""
    unknown = (
        b'{"order_id":"iqmetrix:1:none","packages":[{"carrier":"UPS","tracking_number":"1Z"}],"note":"%b"}'
    )
    return (
        # Refused before it is parsed, after it is parsed, and by the order that nobody knows.
        b"[" + b"0," * (LARGEST_BODY // 2 - 2) + b"0]",
        orjson.dumps({"order_id": "none", "note": "a" * (LARGEST_BODY - 100)}),
        unknown % (b"a" * (LARGEST_BODY - len(unknown))),
    )


async def worked_through(messages: int, folder: Path, broker_url: str) -> Backlog:
    """Fill the queues, then start the hub and wait until all is a letter."""
    arguments = ["-m", "hub", "sandbox", "--orders", "0", "--every", "0"]
    with running(arguments, folder, "partners", {}):
        settings = await printed(folder / "partners.log")
        environ = hub_environment(folder, broker_url) | {
            "HUB_CONFIG": str(settings),
            "HUB_RETRY__WAITS": '["1s"]',
            "HUB_LOG__LEVEL": "warning",
        }
        with hub(folder, environ) as first:
            await first.ready()
        async with client_session(Broker(url=SecretStr(broker_url)), name="bench") as desk:
            await _fill(desk, messages)
        begun = time.monotonic()
        with hub(folder, environ) as measured:
            await measured.ready()
            letters, since = -1, time.monotonic()
            while time.monotonic() - since < _QUIET_SECONDS:
                if time.monotonic() - begun > _PATIENCE_SECONDS:
                    raise BenchmarkError(f"{letters} letters after {_PATIENCE_SECONDS:g} s, and more to come")
                await measured.watch(20 * SAMPLE_SECONDS)
                found = await _letters(measured)
                if found != letters:
                    letters, since = found, time.monotonic()
            return Backlog(letters, measured.peak, since - begun)


# Without another letter.
_QUIET_SECONDS = 10.0


async def _fill(desk: ClientSession, messages: int) -> None:
    for number in range(messages):
        body = bodies()[number % len(bodies())]
        message = Message(body, content_type="application/json", message_id=f"large-{number}")
        await desk.send(message, exchange=FULFILLMENT, routing_key="order.shipped")


async def _letters(measured: Hub) -> int:
    queues = await measured.labels("hub_letters_total", "queue")
    counts = [await measured.metric(f'hub_letters_total{{queue="{queue}"}}') for queue in queues]
    return int(sum(counts))


def report(backlog: Backlog, messages: int) -> bool:
    """Print the table; tells whether the limit holds."""
    peak = megabytes(backlog.peak)
    holds = peak < LIMIT_MB and backlog.letters >= messages
    print_table(
        ("a backlog of the largest messages", "hub run"),
        [
            ("messages, each for every consumer of its type", f"{messages} of {LARGEST_BODY} bytes"),
            ("letters", f"{backlog.letters}"),
            ("seconds", f"{backlog.seconds:.0f}"),
            ("RSS peak", f"{peak:.0f} MB"),
            (f"below {LIMIT_MB} MB", verdict(holds)),
        ],
    )
    return holds


async def measure(messages: int) -> bool:
    """Run and print what came of it; tells whether the limit holds."""
    with tempfile.TemporaryDirectory(prefix="hub-bench-") as name:
        folder = Path(name)
        async with PrivateNode(folder / "broker") as node:
            return report(await worked_through(messages, folder / "hub", node.url), messages)


def main() -> int:
    """Run and give the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.large_bodies")
    parser.add_argument("--messages", type=int, default=MESSAGES)
    asked = parser.parse_args()
    return exit_status(lambda: asyncio.run(measure(asked.messages)))


if __name__ == "__main__":
    sys.exit(main())
