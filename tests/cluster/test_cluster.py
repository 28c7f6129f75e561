"""Three RabbitMQ nodes: the leader of the queues is killed, and a node is cut off, both in mid-flow.

Three nodes on one machine, each with ports, data and Erlang distribution of its own. The network between them is cut at
that distribution: the node is told a wrong cookie for each of the others, so that every connection between them closes
and none can be made, while all three run on and can be reached by their clients.
"""

import asyncio
import json
import secrets
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from hub.errors import BrokerUnavailable
from hub.local_broker.node import PrivateNode
from hub.local_broker.node_files import Identity, node_environment
from hub.local_broker.port_reservation import reserve_new_ports
from hub.messaging.message import Message
from tests.broker.rig import outsider, running
from tests.eventually import eventually
from tests.flows.rig import Stage, completed_with_less, finished, on_the_work_list, staged, unexplained
from tests.nodes import queues_settled

pytestmark = [pytest.mark.broker, pytest.mark.flow]

START_SECONDS = 150
QUEUE = "hub.iqmetrix.update-order-status"


@dataclass
class Cluster:
    """Three nodes that know each other."""

    nodes: Sequence[PrivateNode]
    server: Path
    vhost: str = "/"

    @property
    def urls(self) -> str:
        return ",".join(node.vhost_url(self.vhost) for node in self.nodes)

    def ask(self, node: PrivateNode, *words: str) -> str:
        """What rabbitmqctl says about a node."""
        told = subprocess.run(
            [self.server.with_name("rabbitmqctl"), "--quiet", "--node", node.name, *words],
            env=node_environment(node.data_dir, node._known),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert told.returncode == 0, told.stdout + told.stderr
        return told.stdout

    async def whole(self) -> None:
        """Wait until each node says that all run."""

        async def all_run() -> bool:
            return [await self.running(node) for node in self.nodes] == [len(self.nodes)] * len(self.nodes)

        await eventually(all_run, within=60, every=0.5, because="the cluster is whole")

    async def running(self, node: PrivateNode) -> int:
        """How many nodes run, as this one sees it; 0 when it does not."""
        try:
            status = await asyncio.to_thread(self.ask, node, "cluster_status", "--formatter", "json")
        except AssertionError:
            return 0
        return len(json.loads(status)["running_nodes"])

    async def leader(self) -> PrivateNode:
        """The node that leads the queue."""
        words = ("list_queues", "--vhost", self.vhost, "--formatter", "json", "name", "leader")
        queues = json.loads(await asyncio.to_thread(self.ask, self.nodes[0], *words))
        (name,) = (queue["leader"] for queue in queues if queue["name"] == QUEUE)
        return next(node for node in self.nodes if node.name == name)

    async def cut_off(self, node: PrivateNode) -> None:
        """Cut the network between this node and the others."""
        await self._for_each_peer(node, "erlang:set_cookie(Peer, cut), erlang:disconnect_node(Peer)")

    async def mend(self, node: PrivateNode) -> None:
        """Let it reach the others again."""
        await self._for_each_peer(node, "erlang:set_cookie(Peer, erlang:get_cookie())")

    async def _for_each_peer(self, node: PrivateNode, deed: str) -> None:
        peers = ", ".join(f"'{other.name}'" for other in self.nodes if other is not node)
        await asyncio.to_thread(self.ask, node, "eval", f"[begin {deed} end || Peer <- [{peers}]].")


def identities() -> Sequence[Identity]:
    """Three nodes with names and ports of their own, and one user, cookie and port mapper for all."""
    with ExitStack() as reserved:
        first, *others = (Identity.invent(reserve_new_ports(reserved)) for _ in range(3))
        shared = {"user": first.user, "password": first.password, "cookie": first.cookie}
        mapper = {"epmd": first.ports["epmd"]}
        return [first, *(replace(other, **shared, ports={**other.ports, **mapper}) for other in others)]


@pytest.fixture(scope="module")
def three_nodes(
    rabbitmq_server: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sequence[PrivateNode]]:
    """Started at once, as a cluster wants it; ended by their ids."""
    known = identities()
    more = "cluster_formation.peer_discovery_backend = classic_config\ncluster_partition_handling = pause_minority\n"
    more += "".join(
        f"cluster_formation.classic_config.nodes.{number} = {identity.name}\n"
        for number, identity in enumerate(known, 1)
    )
    nodes = []
    for identity in known:
        folder = tmp_path_factory.mktemp("member")
        identity.write(folder)
        nodes.append(PrivateNode(folder, server=rabbitmq_server, more=more))
    loop = asyncio.new_event_loop()

    async def start() -> None:
        await asyncio.gather(*(node.start(START_SECONDS) for node in nodes))
        await Cluster(nodes, rabbitmq_server).whole()

    async def stop() -> None:
        await asyncio.gather(*(node.stop(grace=0) for node in nodes))

    try:
        loop.run_until_complete(start())
        yield nodes
    finally:
        loop.run_until_complete(stop())
        loop.close()


@pytest.fixture
async def cluster(three_nodes: Sequence[PrivateNode], rabbitmq_server: Path) -> Cluster:
    """The cluster with an empty virtual host of this test's own."""
    made = Cluster(three_nodes, rabbitmq_server, f"test-{secrets.token_hex(4)}")
    first = three_nodes[0]
    await asyncio.to_thread(made.ask, first, "add_vhost", made.vhost)
    rights = ("set_permissions", "--vhost", made.vhost, first.user, ".*", ".*", ".*")
    await asyncio.to_thread(made.ask, first, *rights)
    return made


def _moving(stage: Stage, goal: int) -> Callable[[], bool]:
    return lambda: stage.work_seen() >= goal


async def test_the_leader_of_the_queues_killed_in_mid_flow_costs_nothing(
    cluster: Cluster, tmp_path: Path
) -> None:
    async with staged(cluster.urls, tmp_path, orders=18, seed=41, with_retailops=True) as stage:
        stage.hub.start()
        await eventually(stage.hub.ready, within=60, every=0.2)
        leader = await cluster.leader()
        await asyncio.gather(*(queues_settled(node) for node in cluster.nodes))
        stage.place(orders=6, purchase_orders=3)
        await eventually(_moving(stage, stage.work_seen() + 12), within=30)

        await leader.kill()
        stage.place(stage.scene.orders - stage.scene.placed, purchase_orders=3)
        await finished(stage, within=120)
        await leader.start(START_SECONDS)
        await cluster.whole()
        await eventually(stage.hub.ready, within=30, every=0.2)
        assert stage.hub.stop() == 0
        less = completed_with_less(stage.retailops)

    assert unexplained(stage) == []
    assert await on_the_work_list(leader.vhost_url(cluster.vhost)) == less


async def test_a_node_cut_off_from_the_others_in_mid_flow_costs_nothing(
    cluster: Cluster, tmp_path: Path
) -> None:
    async with staged(cluster.urls, tmp_path, orders=18, seed=42, with_retailops=True) as stage:
        stage.hub.start()
        await eventually(stage.hub.ready, within=60, every=0.2)
        leader = await cluster.leader()
        others = [node for node in cluster.nodes if node is not leader]
        stage.place(orders=6, purchase_orders=3)
        await eventually(_moving(stage, stage.work_seen() + 12), within=30)

        await cluster.cut_off(leader)
        stage.place(orders=6, purchase_orders=3)
        seen = [await cluster.running(node) for node in others]
        await finished(stage, within=120)
        await cluster.mend(leader)
        await cluster.whole()
        stage.place(stage.scene.orders - stage.scene.placed)
        await finished(stage, within=60)
        assert stage.hub.stop() == 0
        less = completed_with_less(stage.retailops)

    assert seen == [2, 2]
    assert unexplained(stage) == []
    assert await on_the_work_list(leader.vhost_url(cluster.vhost)) == less


async def test_queues_first_published_to_while_their_leader_is_dead_take_messages_before_it_is_back(
    cluster: Cluster,
) -> None:
    leader, *others = cluster.nodes
    queues = [f"test.{number}" for number in range(20)]
    refusals: list[str] = []

    async with outsider(leader.vhost_url(cluster.vhost)) as client:
        for queue in queues:
            await client.declare_queue(queue, durable=True, arguments={"x-queue-type": "quorum"})
    hosts = ",".join(node.vhost_url(cluster.vhost) for node in others)
    async with running(hosts, None, publish_timeout=timedelta(seconds=5)) as rig:

        async def published(queue: str) -> bool:
            message = Message(b"{}", message_id=queue)
            try:
                await rig.publisher.send(message, exchange="", routing_key=queue)
            except BrokerUnavailable as error:
                refusals.append(str(error))
                return False
            return True

        killed = asyncio.create_task(leader.kill())
        await asyncio.gather(*map(published, queues))
        await killed
        try:
            for queue in queues:
                await eventually(partial(published, queue), within=5, because=f"{queue} takes one")
        finally:
            await leader.start(START_SECONDS)
            await cluster.whole()

    assert "the broker refused a message" in refusals[0]
