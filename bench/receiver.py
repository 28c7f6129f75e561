"""A client's endpoint in a process of its own: takes every post and answers, at once or after so many seconds.

    python -m bench.receiver 0.05

The first line of its output is its address. Each number on standard input is how many different bodies to wait for;
it answers with a line when it does, one when the first has come, and one when all have: how long that took, how many
posts it were, a digest of what they said, and when each unit came first, in seconds since the epoch. It ends with its
input.
"""

import asyncio
import hashlib
import json
import sys
import time
from collections.abc import Iterable, Mapping

from aiohttp import web


class Receiver:
    """Counts posts and keeps their bodies; a post counts when it is answered, ``answers_after`` seconds after it came."""

    def __init__(self, answers_after: float) -> None:
        self._answers_after = answers_after
        self._wanted = 0
        self.expect(0)

    def expect(self, bodies: int) -> None:
        """Begin anew."""
        self._wanted, self._posts, self._begun = bodies, 0, 0.0
        self._bodies: dict[bytes, float] = {}

    async def take(self, request: web.BaseRequest) -> web.StreamResponse:
        """Take one post."""
        body = await request.read()
        if not self._begun:
            self._begun = time.perf_counter()
            print(json.dumps({"begun": True}), flush=True)
        if self._answers_after:
            await asyncio.sleep(self._answers_after)
        now = time.perf_counter()
        self._posts += 1
        before = len(self._bodies)
        self._bodies.setdefault(body, time.time())
        if before < self._wanted == len(self._bodies):
            said = {"seconds": now - self._begun, "posts": self._posts, "digest": digest(self._bodies)}
            print(json.dumps(said | {"arrived": arrivals(self._bodies)}), flush=True)
        return web.Response()


def arrivals(bodies: Mapping[bytes, float]) -> dict[str, float]:
    """Give when each unit came; what is about no unit is left out."""
    units = ((json.loads(body).get("optiturn_lp"), at) for body, at in bodies.items())
    return {unit: at for unit, at in units if unit is not None}


def digest(bodies: Iterable[bytes]) -> str:
    """Give the same for the same contents, in whatever order they came and their keys stand."""
    contents = sorted(json.dumps(json.loads(body), sort_keys=True) for body in bodies)
    return hashlib.sha256("\n".join(contents).encode()).hexdigest()


async def serve(answers_after: float) -> None:
    """Answer until standard input ends."""
    receiver = Receiver(answers_after)
    runner = web.ServerRunner(web.Server(receiver.take))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(json.dumps({"url": f"http://127.0.0.1:{runner.addresses[0][1]}/hooks/disposition"}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        receiver.expect(int(line))
        print(json.dumps({"expected": int(line)}), flush=True)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1])))
