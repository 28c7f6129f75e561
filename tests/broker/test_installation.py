"""A state store and a broker belong together by the id that both hold."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from hub.amqp.connection.connection import connect
from hub.amqp.topology import declare
from hub.amqp.topology.installation import Marked, read_installation
from hub.config.broker import Broker
from hub.config.settings import Settings, load
from hub.errors import ConfigError
from hub.process.lifecycle import Resources
from hub.service.flows import topology_of
from hub.service.installation import join_installation
from hub.service.startup import ReadinessState
from hub.state.store import SqlStore, open_store
from hub.topology import INSTALLATION, Topology
from tests.broker.rig import depth
from tests.cli.conftest import EXAMPLE
from tests.eventually import eventually

TOPOLOGY = topology_of(load(EXAMPLE, environ={}))


def settings_for(url: str) -> Settings:
    return Settings(broker=Broker(url=SecretStr(url), reconnect_after=timedelta(milliseconds=50)))


@pytest.fixture
def settings(broker_url: str) -> Settings:
    return settings_for(broker_url)


@asynccontextmanager
async def store_in(folder: Path, name: str = "hub.db") -> AsyncIterator[SqlStore]:
    store = await open_store(f"sqlite:///{folder / name}")
    try:
        yield store
    finally:
        await store.close()


async def start(settings: Settings, store: SqlStore, *, holder: str = "one", accept: bool = False) -> None:
    await join_installation(Resources(settings, store, holder), TOPOLOGY, ReadinessState(), accept=accept)


async def on_broker(url: str, work: Callable[[object, Topology], Awaitable[object]]) -> object:
    async with await connect(Broker(url=SecretStr(url)), name="test") as connection:
        return await work(connection, TOPOLOGY)


async def holds_one_id(url: str) -> None:
    """The message goes back into its queue a moment after it was read."""

    async def is_there() -> bool:
        return await depth(url, INSTALLATION) == 1

    await eventually(is_there, because="the broker holds one id")


async def test_a_new_installation_starts_on_an_applied_topology(
    settings: Settings, broker_url: str, tmp_path: Path
) -> None:
    await on_broker(broker_url, declare.apply)  # type: ignore[arg-type]

    async with store_in(tmp_path) as store:
        await start(settings, store)
        kept = await store.told("hub", "installation")

    assert kept is not None
    assert await on_broker(broker_url, read_installation) == Marked(kept["id"])  # type: ignore[arg-type]


async def test_applying_the_topology_writes_no_id(broker_url: str) -> None:
    await on_broker(broker_url, declare.apply)  # type: ignore[arg-type]

    assert await depth(broker_url, INSTALLATION) == 0


async def test_a_second_start_finds_its_own_installation(
    settings: Settings, broker_url: str, tmp_path: Path
) -> None:
    async with store_in(tmp_path) as store:
        await start(settings, store)
        await start(settings, store)

    await holds_one_id(broker_url)


async def test_replicas_that_start_together_write_one_id(
    settings: Settings, broker_url: str, tmp_path: Path
) -> None:
    async with store_in(tmp_path) as store:
        await asyncio.gather(*(start(settings, store, holder=f"replica {number}") for number in range(4)))

    await holds_one_id(broker_url)


async def test_an_empty_store_is_refused_beside_a_broker_with_an_id(
    settings: Settings, tmp_path: Path
) -> None:
    async with store_in(tmp_path) as store:
        await start(settings, store)

    async with store_in(tmp_path, "lost.db") as empty:
        with pytest.raises(ConfigError, match=r"restore its backup.*--accept-empty-state once"):
            await start(settings, empty)


async def test_an_empty_store_that_is_accepted_takes_the_id_of_the_broker(
    settings: Settings, broker_url: str, tmp_path: Path
) -> None:
    async with store_in(tmp_path) as store:
        await start(settings, store)
        first = await store.told("hub", "installation")

    async with store_in(tmp_path, "new.db") as empty:
        await start(settings, empty, accept=True)
        await start(settings, empty)
        second = await empty.told("hub", "installation")

    assert first is not None
    assert second is not None
    assert first["id"] == second["id"]


async def test_two_installations_on_one_broker_refuse_each_other(
    settings: Settings, fresh_vhost: Callable[..., object], broker_url: str, tmp_path: Path
) -> None:
    with fresh_vhost() as elsewhere:  # type: ignore[attr-defined]
        other = settings_for(elsewhere)
        async with store_in(tmp_path) as store, store_in(tmp_path, "other.db") as another:
            await start(settings, store)
            await start(other, another)

            with pytest.raises(ConfigError, match="of one installation"):
                await start(settings, another)
            with pytest.raises(ConfigError, match="of one installation"):
                await start(settings, another, accept=True)


async def test_an_empty_store_is_refused_beside_queues_of_an_older_release(
    settings: Settings, broker_url: str, tmp_path: Path
) -> None:
    await on_broker(broker_url, declare.apply)  # type: ignore[arg-type]
    async with await connect(Broker(url=SecretStr(broker_url)), name="test") as connection:
        await (await connection.channel()).queue_delete(INSTALLATION)

    async with store_in(tmp_path) as store:
        with pytest.raises(ConfigError, match="the broker has queues of the hub"):
            await start(settings, store)


async def test_a_store_of_an_older_release_is_given_an_id(
    settings: Settings, broker_url: str, tmp_path: Path
) -> None:
    async with store_in(tmp_path) as store:
        await store.tell("hub", "installation", {"begun_by": "an older release"})

        await start(settings, store)

    await holds_one_id(broker_url)


async def test_a_broker_that_lost_its_volume_is_given_the_id_again(
    settings: Settings, broker_url: str, tmp_path: Path
) -> None:
    async with store_in(tmp_path) as store:
        await start(settings, store)
        async with await connect(Broker(url=SecretStr(broker_url)), name="test") as connection:
            await (await connection.channel()).queue_delete(INSTALLATION)

        await start(settings, store)

    await holds_one_id(broker_url)
