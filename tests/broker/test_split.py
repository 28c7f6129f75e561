"""A client's webhooks on a real broker that is lost while a delivery is being settled: one ladder for each webhook."""

from collections.abc import Awaitable, Callable

from consumers.webhooks.deliver_webhooks import STORED_PREFIX, DeliverWebhooks, deliver_webhooks_queue
from hub.errors import PartnerUnavailable
from hub.partners.optoro.translate import Kind
from tests.broker.rig import depth, letters, running
from tests.eventually import eventually
from tests.fakes import MemoryStore
from tests.partners.optoro.samples import ORDER, PARCEL, SECOND_PARCEL, a_client, an_event, shipped

FIRST = "webhook:acme:confirmation:FUL-1:PKG-1"
SECOND = "webhook:acme:confirmation:FUL-1:PKG-2"


class Down:
    """An endpoint that takes nothing."""

    def __init__(self) -> None:
        self.posts: list[str] = []

    async def post(self, url: str, body: bytes, *, webhook_id: str, kind: Kind) -> None:
        self.posts.append(webhook_id)
        raise PartnerUnavailable("expected an answer, the connection was refused")


class CutAfterTheFirst(MemoryStore):
    """A store after whose first record that a webhook travels on the connection to the broker is lost, and back."""

    def __init__(self) -> None:
        super().__init__()
        self.cut: Callable[[], Awaitable[None]] | None = None

    async def delegate_effect(self, key: str) -> None:
        await super().delegate_effect(key)
        cut, self.cut = self.cut, None
        if cut is not None:
            await cut()


async def test_a_connection_lost_between_two_parts_starts_no_second_ladder(broker_url: str) -> None:
    store, endpoint, client = CutAfterTheFirst(), Down(), a_client()
    await store.record_orders([an_event("order.created", ORDER, id_="created-1")])
    handler = DeliverWebhooks(store, endpoint, client, "host:1:test")
    queue = deliver_webhooks_queue(client)
    deliveries: list[str] = []

    async def hear(event, context):
        deliveries.append(event.id)
        return await handler(event, context)

    async with running(broker_url, hear, queue=queue) as rig:
        rig.stored[STORED_PREFIX] = handler.deliver_stored

        async def cut() -> None:
            rig.supervisor._give_up("the test cut the connection")
            await eventually(lambda: len(deliveries) == 2, because="the event comes again")

        store.cut = cut
        await rig.publisher.publish(shipped(PARCEL, SECOND_PARCEL))

        async def both_dead() -> bool:
            return await depth(broker_url, queue.dead) >= 2

        await eventually(both_dead, within=20)
        await eventually(lambda: endpoint.posts.count(SECOND) >= 6, because="its ladder has ended")

    found = [letter.message_id for letter in await letters(broker_url, queue.dead)]
    assert endpoint.posts.count(FIRST) == 6
    assert endpoint.posts.count(SECOND) == 7, "one more: it had no copy when the connection was lost"
    assert sorted(map(str, found)) == [FIRST, SECOND]
