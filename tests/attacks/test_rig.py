"""The deployment itself: what a publisher is for does happen in it."""

from tests.attacks.rig import Deployment, shipped
from tests.eventually import eventually


async def test_an_event_of_a_publisher_becomes_a_webhook_of_each_client(deployment: Deployment) -> None:
    async with deployment.hub():
        order_id = await deployment.known_order()

        await deployment.publish_as_publisher(shipped(order_id), "order.shipped", message_id="shipment-1")

        await eventually(lambda: bool(deployment.acme.received and deployment.northwind.received))
    assert [delivery.status for delivery in deployment.acme.attempts] == [200]
