"""The channel that is published on: replaced after a refusal, without loss to what is still on its way."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.channel import Returning
from structlog.testing import capture_logs

from hub.amqp.sending.publish_channel import Pauses, PublishChannel
from tests.eventually import eventually

PAUSE = 0.1


class Channel:
    """A channel, with what was published and not answered."""

    def __init__(self) -> None:
        self.close_callbacks: set[Callable[[object, BaseException | None], None]] = set()
        self.confirmations: dict[int, asyncio.Future[None]] = {}
        self.is_closed = False

    async def get_underlay_channel(self) -> "Channel":
        return self

    async def close(self) -> None:
        self.break_off(None)

    def break_off(self, why: BaseException | None) -> None:
        self.is_closed = True
        for tell in self.close_callbacks:
            tell(self, why)


class Connection:
    """A connection that notes its channels, and opens no more of them once it is lost."""

    def __init__(self) -> None:
        self.channels: list[Channel] = []
        self.lost = False

    async def channel(self, **_: Any) -> Channel:
        if self.lost:
            raise ConnectionError("lost")
        self.channels.append(Channel())
        return self.channels[-1]


class Bench:
    def __init__(self) -> None:
        self.connection = Connection()
        self.losses: list[str] = []
        self.publishing = PublishChannel(
            cast(AbstractConnection, self.connection), self.losses.append, Pauses(shortest=PAUSE)
        )

    @property
    def channel(self) -> Channel:
        return cast(Channel, self.publishing.channel)

    def refused(self, channel: Channel) -> None:
        self.publishing.refused(cast(AbstractChannel, channel))

    async def renewed(self, old: Channel) -> None:
        await eventually(lambda: self.channel is not old)

    async def replaced_with_one_on_its_way(self) -> Channel:
        """Give a channel that has refused and been replaced, with a publish on it that is not answered, number 7."""
        channel = self.channel
        channel.confirmations[7] = asyncio.get_running_loop().create_future()
        self.refused(channel)
        await self.renewed(channel)
        return channel


@pytest.fixture
async def bench() -> Bench:
    made = Bench()
    assert made.publishing.channel is None
    await made.publishing.open()
    return made


async def test_a_channel_that_has_refused_is_replaced_and_closed_and_the_session_goes_on(
    bench: Bench,
) -> None:
    first = bench.channel

    bench.refused(first)
    await bench.renewed(first)

    await eventually(lambda: first.is_closed)
    assert not bench.channel.is_closed
    assert bench.losses == []


async def test_many_refusals_on_one_channel_bring_one_new_channel(bench: Bench) -> None:
    bench.publishing._pauses = Pauses(shortest=0)
    first = bench.channel

    for _ in range(50):
        bench.refused(first)
    await bench.renewed(first)
    # Answers of the broker that crossed the renewal.
    for _ in range(50):
        bench.refused(first)
        await asyncio.sleep(0)

    assert len(bench.connection.channels) == 2


def test_pauses_grow_up_to_the_longest_and_begin_anew_after_as_long_a_quiet() -> None:
    pauses = Pauses(shortest=1, longest=5)

    def pause_after(now: float) -> float:
        pauses.before(now)
        pauses.begin(now)
        return pauses.before(now)

    assert pauses.before(1000) == 0
    assert [pause_after(1000 + seconds) for seconds in (0, 1, 3, 7, 12)] == [1, 2, 4, 5, 5]
    assert pauses.before(1014) == 3
    # The last one was over at 1017.
    assert pause_after(1022) == 5
    assert pause_after(1033) == 1


async def test_refusals_that_last_bring_a_new_channel_after_each_pause(bench: Bench) -> None:
    clock = asyncio.get_running_loop()
    renewed: list[float] = []

    def refuse() -> bool:
        if len(bench.connection.channels) > len(renewed) + 1:
            renewed.append(clock.time())
        bench.refused(bench.channel)
        return len(renewed) == 3

    await eventually(refuse, every=0.001)

    assert renewed[1] - renewed[0] >= PAUSE * 0.9
    assert renewed[2] - renewed[1] >= 2 * PAUSE * 0.9


async def test_what_is_on_its_way_on_a_channel_that_refused_can_still_be_confirmed(bench: Bench) -> None:
    first = await bench.replaced_with_one_on_its_way()

    with pytest.raises(AssertionError):
        await eventually(lambda: first.is_closed, within=0.05)
    first.confirmations.pop(7).set_result(None)

    await eventually(lambda: first.is_closed)


async def test_a_new_channel_that_refuses_as_well_is_replaced_while_the_one_before_is_waited_for(
    bench: Bench,
) -> None:
    first = await bench.replaced_with_one_on_its_way()
    second = bench.channel

    def refuse() -> bool:
        bench.refused(second)
        return bench.channel is not second

    await eventually(refuse)

    assert not first.is_closed
    await eventually(lambda: second.is_closed)


async def test_a_message_that_came_back_holds_up_no_channel(bench: Bench) -> None:
    first = bench.channel
    first.confirmations[7] = Returning()

    bench.refused(first)

    await eventually(lambda: first.is_closed)


async def test_a_channel_that_closes_by_itself_ends_the_session_unless_another_has_replaced_it(
    bench: Bench,
) -> None:
    first = await bench.replaced_with_one_on_its_way()

    first.break_off(ConnectionError("the old one"))
    assert bench.losses == []
    bench.channel.break_off(ConnectionError("the new one"))

    assert bench.losses == ["publish channel: ConnectionError: the new one"]
    assert bench.publishing.channel is None


async def test_where_no_new_channel_can_be_had_the_old_one_stays_and_the_next_refusal_tries_again(
    bench: Bench,
) -> None:
    first = bench.channel
    bench.connection.lost = True
    with capture_logs() as said:
        bench.refused(first)
        await eventually(lambda: bool(said))

    assert [line["event"] for line in said] == ["channel_kept"]
    assert bench.channel is first
    bench.connection.lost = False

    def refuse() -> bool:
        bench.refused(first)
        return bench.channel is not first

    await eventually(refuse)


async def test_no_new_channel_is_opened_and_none_waited_for_once_the_session_ends(bench: Bench) -> None:
    first = await bench.replaced_with_one_on_its_way()
    bench.refused(bench.channel)

    await bench.publishing.close()

    assert len(bench.connection.channels) == 2
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert not first.confirmations[7].done(), "the connection ends it"
