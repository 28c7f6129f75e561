"""A client's endpoint in a process of its own that counts how often each unit came, a million of them in a megabyte.

    python -m bench.tally

The first line of its output is its address. A line ``RUN N`` on standard input begins to count the units ``RUN-0`` to
``RUN-(N-1)`` anew, any other asks; both are answered with what is known: different units, posts, the most posts of one
unit, and when the first post and each tenth of the units came (monotonic seconds, which all processes of a machine
share). Posts of other runs are answered and not counted. It ends with its input. ``bench.units`` speaks to it.
"""

import asyncio
import json
import sys
import time

import orjson
from aiohttp import web

PARTS = 10


class Tally:
    """Counts posts by the number of their unit."""

    def __init__(self) -> None:
        self.begin("", 0)

    def begin(self, run: str, units: int) -> None:
        """Begin anew."""
        self._run, self._counts = run, bytearray(units)
        self._units, self._posts, self._most = 0, 0, 0
        self._marks: list[float] = []

    async def take(self, request: web.BaseRequest) -> web.StreamResponse:
        """Take one post."""
        run, _, number = orjson.loads(await request.read())["optiturn_lp"].rpartition("-")
        if run == self._run:
            self._count(int(number))
        return web.Response()

    def told(self) -> str:
        """Say what is known, as a line of JSON."""
        return json.dumps(
            {"units": self._units, "posts": self._posts, "most": self._most, "marks": self._marks}
        )

    def _count(self, number: int) -> None:
        now = time.monotonic()
        if not self._posts:
            self._marks.append(now)
        self._posts += 1
        if not self._counts[number]:
            self._units += 1
            while len(self._marks) <= PARTS and self._units * PARTS >= len(self._marks) * len(self._counts):
                self._marks.append(now)
        # More than a byte holds is as wrong.
        self._counts[number] = min(self._counts[number] + 1, 255)
        self._most = max(self._most, self._counts[number])


async def serve() -> None:
    """Answer until standard input ends."""
    tally = Tally()
    runner = web.ServerRunner(web.Server(tally.take))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(json.dumps({"url": f"http://127.0.0.1:{runner.addresses[0][1]}/hooks/disposition"}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        run, _, units = line.strip().rpartition(" ")
        if run:
            tally.begin(run, int(units))
        print(tally.told(), flush=True)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve())
