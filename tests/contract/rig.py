"""Foreign programs as processes, the code blocks of the pages, and a hub that hears everything."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from aio_pika.abc import AbstractIncomingMessage

from hub.models.events import EVENT_TYPES, FULFILLMENT
from hub.topology import WorkQueue
from tests.broker.rig import Handler, letters, running
from tests.contract.conftest import FOREIGN, ROOT
from tests.eventually import eventually

EVERYTHING = WorkQueue(
    "test",
    "hear_everything",
    hears=tuple(name for name, kind in EVENT_TYPES.items() if kind.exchange == FULFILLMENT),
)
PAGES = ("README.md", "docs/integration.md")
# Starting an interpreter and a client on a busy machine.
PATIENCE = timedelta(seconds=30)


@asynccontextmanager
async def listening_hub(broker_url: str) -> AsyncIterator[Handler]:
    """A hub whose one handler hears every event of hub.fulfillment."""
    handler = Handler()
    async with running(broker_url, handler, queue=EVERYTHING):
        yield handler


async def dead_letters(broker_url: str, number: int = 1) -> list[AbstractIncomingMessage]:
    """Wait for so many letters of that hub, and take them."""
    found: list[AbstractIncomingMessage] = []

    async def there() -> bool:
        found.extend(await letters(broker_url, EVERYTHING.dead))
        return len(found) >= number

    await eventually(there, every=0.1, because=f"{number} dead letters")
    return found


@dataclass(frozen=True)
class Block:
    """A block of code of a page that talks to a broker."""

    page: str
    language: str
    code: str

    @property
    def line(self) -> str:
        """What the block does, for the name of a test: the types that it names."""
        return " ".join(name for name in EVENT_TYPES if name in self.code) or "nothing"


def blocks() -> list[Block]:
    """Every block of the pages that uses AMQP_URL: the pages promise that each of them runs."""
    return [
        Block(page, language, code)
        for page in PAGES
        for language, code in re.findall(
            r"^```(sh|python|js)\n(.*?)^```$",
            (ROOT / page).read_text(encoding="utf-8"),
            re.MULTILINE | re.DOTALL,
        )
        if "AMQP_URL" in code
    ]


_INTERPRETERS: Mapping[str, Sequence[str]] = {
    "sh": ("sh", "-eu"),
    "python": (sys.executable, "-"),
    "js": ("node", "--input-type=module", "-"),
}


class Running:
    """A program that was started; `output` is what it has said so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.output = ""

    async def says(self, text: str, times: int = 1) -> None:
        """Return when the program has said `text` so many times."""
        stdout = self._process.stdout
        assert stdout is not None
        async with asyncio.timeout(PATIENCE.total_seconds()):
            while self.output.count(text) < times:
                line = await stdout.readline()
                assert line, f"it ended before it said {text!r}: {self.output}"
                self.output += line.decode()

    async def ended(self) -> str:
        """Return all that it said when it has ended well."""
        async with asyncio.timeout(PATIENCE.total_seconds()):
            rest, _ = await self._process.communicate()
        self.output += rest.decode()
        assert self._process.returncode == 0, self.output
        return self.output


@asynccontextmanager
async def started(language: str, code: str, broker_url: str = "", **environ: str) -> AsyncIterator[Running]:
    """Run code of a language as a process; it does not outlive the block."""
    process = await asyncio.create_subprocess_exec(
        *_INTERPRETERS[language],
        cwd=FOREIGN,  # where node finds its packages
        env=os.environ | {"AMQP_URL": broker_url} | environ,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        assert process.stdin is not None
        process.stdin.write(code.encode())
        process.stdin.close()
        yield Running(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def run(language: str, code: str, broker_url: str = "", **environ: str) -> str:
    """Run code of a language to its end; give what it said."""
    async with started(language, code, broker_url, **environ) as program:
        return await program.ended()
