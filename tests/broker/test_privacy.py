"""What a letter and a log line say of persons: nothing that the message itself says of them."""

import orjson
from structlog.testing import capture_logs

from hub.errors import PermanentError, TransientError
from tests.broker.rig import ORDER_ID, QUEUE, depth, letters, outsider, running, send
from tests.eventually import eventually

NAME = "Wilhelmina Canary-O'Neil"


async def test_a_reason_that_repeats_a_person_of_the_message_is_kept_without_it(broker_url: str) -> None:
    tries: list[int] = []

    async def handler(event, context, /):
        tries.append(context.attempt)
        text = (
            f"partner answered 400: no {NAME} ({NAME.upper()}, Wilhelmina) at Vogelheim for {event.order_id}"
        )
        raise TransientError(text) if context.attempt == 1 else PermanentError(text)

    async def dead() -> bool:
        return await depth(broker_url, QUEUE.dead) == 1

    body = orjson.dumps({"order_id": ORDER_ID, "ship_to": {"name": NAME, "city": "Vogelheim"}})
    with capture_logs() as lines:
        async with running(broker_url, handler), outsider(broker_url) as channel:
            await send(channel, "hub.fulfillment", "order.accepted", body, content_type="application/json")
            await eventually(dead)

    (letter,) = await letters(broker_url, QUEUE.dead)
    said = f"partner answered 400: no *** (***, ***) at *** for {ORDER_ID}"
    assert tries == [1, 2]
    assert letter.body == body
    assert letter.headers["x-hub-reason"] == said
    assert [line["note"] for line in lines if line["event"] == "delivery_settled"] == [said, said]
