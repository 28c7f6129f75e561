"""What a publisher takes of somebody else's effects by the ids it chooses: nothing, and nothing is dropped in silence."""

from typing import Any

import orjson

from tests.attacks.rig import ACME, Deployment
from tests.eventually import eventually


def package(tracking_number: str, sku: str, **more: Any) -> dict[str, Any]:
    items = [{"sku": sku, "quantity": 1}]
    sizes = {"weight_lb": 1.0, "shipping_cost_cents": 500}
    return {"carrier": "UPS", "tracking_number": tracking_number, "items": items, **sizes, **more}


async def test_an_id_with_another_package_is_a_letter_and_a_repetition_is_none(
    deployment: Deployment,
) -> None:
    async with deployment.hub(), deployment.store() as store:
        order_id = await deployment.known_order()
        sku = (await store.load_order(order_id)).lines[0].sku
        for number in ("P1", "P1", "P2"):
            body = {"order_id": order_id, "packages": [package(number, sku)]}
            await deployment.publish_as_publisher(body, "order.shipped", message_id="same-id")

        async def set_aside() -> bool:
            return await deployment.depth(f"{ACME}.dead") == 1

        await eventually(set_aside, within=20, every=0.05)
        order = await store.load_order(order_id)

    assert [parcel.tracking_number for parcel in order.packages] == ["P1"]


async def test_ids_with_colons_take_no_webhook_of_another_order(deployment: Deployment) -> None:
    async with deployment.hub(), deployment.store() as store:
        victim, own = await deployment.known_order(), await deployment.known_order()
        for order_id, event_id, more in ((own, "X:X", {"package_id": "1"}), (victim, "X", {})):
            sku = (await store.load_order(order_id)).lines[0].sku
            body = {"order_id": order_id, "packages": [package(f"T-{event_id}", sku, **more)]}
            await deployment.publish_as_publisher(body, "order.shipped", message_id=event_id)

        def confirmed() -> list[str]:
            bodies = [orjson.loads(taken.body) for taken in deployment.acme.received]
            return sorted(body["shipment"]["tracking_number"] for body in bodies if "shipment" in body)

        await eventually(lambda: confirmed() == ["T-X", "T-X:X"], within=20, every=0.05)
