"""Private brokers in tests: running one across event loops, and when its crash is a fair test."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from hub.local_broker.node import PrivateNode
from hub.local_broker.node_files import node_environment
from hub.local_broker.node_process import find_server
from tests.eventually import eventually


@contextmanager
def running(node: PrivateNode) -> Iterator[PrivateNode]:
    """Start `node` and kill it at the end, for fixtures that outlive the event loop of a test.

    The tests may call the node's own coroutines in any loop: it holds on to none.
    """
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(node.start())
        yield node
    finally:
        # Nobody reads this data again: a clean end would take up to 6 s.
        loop.run_until_complete(node.stop(grace=0))
        loop.close()


async def queues_settled(node: PrivateNode) -> None:
    """Return when every quorum queue of `node` is registered on disk; wait for this before `node.kill()`.

    Measured on RabbitMQ 3.10.8: messages are on disk when they are confirmed, but the name of a newly declared
    queue is written about 1 s later. A kill in that second leaves a queue that never finds a leader, and each get
    and consume on it hangs. A test that declares and kills at once would test just that.
    """

    def registered() -> bool:
        for folder in (node.data_dir / "mnesia").glob("*/quorum/*"):
            queues = [entry.name.encode() for entry in folder.iterdir() if entry.is_dir()]
            registry = folder / "names.dets"
            if queues and not (registry.exists() and all(name in registry.read_bytes() for name in queues)):
                return False
        return True

    await eventually(registered, every=0.05, because="the broker's registry of quorum queues is on disk")


async def rabbitmqctl(node: PrivateNode, *words: str) -> None:
    """Run the broker's own tool on a private node."""
    # Beside the server: the one in PATH may be a script that changes to another user, who has another cookie.
    tool = find_server().with_name("rabbitmqctl")
    child = await asyncio.create_subprocess_exec(
        tool,
        "--quiet",
        "-n",
        node.name,
        *words,
        env=node_environment(node.data_dir, node._known),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(child.communicate(), 60)
    if child.returncode:
        raise RuntimeError(f"rabbitmqctl {words[0]}: {said.decode()}")
