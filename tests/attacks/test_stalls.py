"""One message of the largest size stalls nobody: it is one letter for each queue, and all others go on."""

from hub.models.input.body_limits import LARGEST_BODY
from tests.attacks.rig import Deployment, dead

KIND = "order.shipped"
# Each kept the event loop for seconds to minutes, and the connection was lost over it.
BODIES = {
    "attributes": b"<a %b/>" % b" ".join(b'a%d="b"' % number for number in range(90_000)),
    "attributes that are searched": b"<a %b/>" % b" ".join(b'a%d="b"' % number for number in range(30_000)),
    "names": b'{"name":[%b]}' % b",".join(b'"n%x"' % number for number in range(130_000)),
    "names that are searched": b'{"name":[%b]}' % b",".join(b'"n%x"' % number for number in range(30_000)),
    "nested": b'{"order_id":' + b"[" * 1000 + b"]" * 1000 + b"}",
    "nested without end": b"[" * LARGEST_BODY,
    "one long word": b'{"order_id":"%b"}' % (b"a" * (LARGEST_BODY - 20)),
}


async def test_a_message_of_the_largest_size_stalls_nobody(deployment: Deployment) -> None:
    queues = [queue.queue for queue in deployment.work_queues if KIND in queue.hears]

    async with deployment.hub():
        for name, body in BODIES.items():
            await deployment.publish_as_publisher(body, KIND, message_id=name)
        for queue in queues:
            await deployment.has(dead(queue), len(BODIES), within=60)
        await deployment.known_order()

    for queue in queues:
        letters = await deployment.take(dead(queue))
        # A connection that is lost brings them again.
        assert sorted(str(letter.message_id) for letter in letters) == sorted(BODIES), queue
        assert {letter.body for letter in letters} == set(BODIES.values()), queue
        assert {letter.headers["x-hub-attempts"] for letter in letters} == {1}
