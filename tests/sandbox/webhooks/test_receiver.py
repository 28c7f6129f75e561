"""The webhook receiver: as strict as the documents, and with a memory for every delivery."""

import copy
from datetime import UTC, datetime
from typing import Any

import aiohttp
import orjson
import pytest
from standardwebhooks import Webhook as Signature

from hub.sandbox import ApiKey, Basic, Fault, OAuth2, WebhookReceiver
from hub.sandbox.webhooks.receiver import PATHS
from hub.sandbox.webhooks.schemas import Webhook

SECRET = "whsec_c2FuZGJveC1zaWduaW5nLXNlY3JldA=="

ADDRESS = {
    "name": "Ada Lund",
    "street": "1 Elm St",
    "city": "Boise",
    "state": "ID",
    "zip_code": "83702",
    "country": "US",
}

BODIES: dict[Webhook, dict[str, Any]] = {
    "confirmation": {
        "shipment": {
            "client_identifier": "order-1", "channel": "rts_drop_ship", "carrier": "UPS", "shipping_method": "UPS Ground",
            "tracking_number": "1Z1", "billed_weight": 2, "shipping_cost_cents": 912,
            "shipment_items": [{"client_identifier": "line-1", "quantity": 2, "created_at": "2024-05-15T14:20:05Z"}],
        }
    },
    "cancellation": {
        "order": {
            "client_identifier": "order-1", "billing_address": {}, "shipping_address": ADDRESS, "brand": "northfork",
            "shipping_method": "STANDARD", "status": "cancelled", "price_cents": 7998, "tax_cents": 0,
            "shipping_cost_cents": 0, "shipping_tax_cents": 0,
            "order_items": [
                {"client_identifier": "line-1", "sku": "A", "brand": "northfork", "condition": "N", "quantity": 2,
                 "price_cents": 7998, "tax_cents": 0, "shipping_cost_cents": 0, "shipping_tax_cents": 0, "status": "cancelled"}
            ],
        }
    },
    "partial_cancellation": {
        "order": {
            "client_identifier": "order-1", "status": "shipped",
            "order_items": [{"client_identifier": "line-2", "status": "cancelled", "quantity": 3, "cancelled_quantity": 1}],
        }
    },
    "disposition": {
        "from_disposition": "needs_testing", "to_disposition": "rts", "timestamp": "2024-05-16T11:03:27",
        "location_identifier": "R1", "warehouse_identifier": "22", "optiturn_lp": "LP1", "program_identifier": "p",
        "upc": "0812345678905", "from_condition": "TT", "to_condition": "N",
    },
}  # fmt: skip


async def post(
    client: aiohttp.ClientSession, receiver: WebhookReceiver, webhook: Webhook, body: object, **headers: str
) -> tuple[int, Any]:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    named = {"Content-Type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    async with client.post(receiver.url_of(webhook), data=raw, headers=named) as response:
        return response.status, await response.json()


@pytest.mark.parametrize("webhook", list(PATHS))
async def test_a_documented_body_is_accepted_and_kept_byte_for_byte(
    client: aiohttp.ClientSession, webhook: Webhook
) -> None:
    async with WebhookReceiver("acme") as acme:
        answer = await post(client, acme, webhook, BODIES[webhook])

    assert answer == (200, {"message": "Success"})
    assert [(received.webhook, received.body) for received in acme.received] == [
        (webhook, orjson.dumps(BODIES[webhook]))
    ]
    assert not acme.violations


@pytest.mark.parametrize(
    ("webhook", "path", "value", "field", "code"),
    [
        ("confirmation", ["shipment", "tracking_number"], ..., "shipment.tracking_number", "missing_field"),
        ("confirmation", ["shipment", "billed_weight"], "2", "shipment.billed_weight", "invalid_type"),
        (
            "confirmation",
            ["shipment", "shipping_cost_cents"],
            9.12,
            "shipment.shipping_cost_cents",
            "invalid_type",
        ),
        (
            "confirmation",
            ["shipment", "packing_slip_identifier"],
            None,
            "shipment.packing_slip_identifier",
            "invalid_type",
        ),
        ("confirmation", ["shipment", "event_id"], "e", "shipment.event_id", "invalid"),
        ("confirmation", ["shipment", "created_at"], "2024-05-15T14:20:05", "shipment.created_at", "invalid"),
        (
            "confirmation",
            ["shipment", "shipment_items", 0, "quantity"],
            0,
            "shipment.shipment_items[0].quantity",
            "invalid",
        ),
        ("cancellation", ["order", "shipping_method"], "UPS Ground", "order.shipping_method", "invalid"),
        (
            "cancellation",
            ["order", "order_items", 0, "created_at"],
            "x",
            "order.order_items[0].created_at",
            "invalid",
        ),
        (
            "cancellation",
            ["order", "shipping_address", "zip_code"],
            83702,
            "order.shipping_address.zip_code",
            "invalid_type",
        ),
        ("partial_cancellation", ["status"], "shipped", "status", "invalid"),
        ("partial_cancellation", ["order", "status"], ..., "order.status", "missing_field"),
        (
            "partial_cancellation",
            ["order", "order_items", 0, "cancelled_quantity"],
            4,
            "order.order_items[0]",
            "invalid",
        ),
        ("disposition", ["to_condition"], "Z", "to_condition", "invalid"),
        ("disposition", ["timestamp"], "2024-05-16T11:03:27Z", "timestamp", "invalid"),
        ("disposition", ["disposition_update"], {}, "disposition_update", "invalid"),
    ],
)
async def test_a_wrong_field_is_answered_422_with_its_path_and_code(
    client: aiohttp.ClientSession, webhook: Webhook, path: list[Any], value: Any, field: str, code: str
) -> None:
    body = copy.deepcopy(BODIES[webhook])
    target: Any = body
    for step in path[:-1]:
        target = target[step]
    if value is ...:
        del target[path[-1]]
    else:
        target[path[-1]] = value

    async with WebhookReceiver("acme") as acme:
        answer = await post(client, acme, webhook, body)

    assert answer == (422, {"message": "Validation Failed", "errors": [{"field": field, "code": code}]})
    assert not acme.received
    assert [violation.what for violation in acme.violations] == [f"{field}: {code}"]


async def test_a_receiver_with_oauth2_wants_a_token_of_its_own_token_endpoint(
    client: aiohttp.ClientSession,
) -> None:
    now = datetime(2024, 5, 14, 16, tzinfo=UTC)
    form = {"grant_type": "client_credentials", "client_id": "hub", "client_secret": "example"}

    async with WebhookReceiver("acme", auth=OAuth2(), now=lambda: now) as acme:
        async with client.post(acme.token_url, data=form) as response:
            token = await response.json()
        bearer = f"Bearer {token['access_token']}"
        refused, _ = await post(client, acme, "disposition", BODIES["disposition"])
        accepted, _ = await post(client, acme, "disposition", BODIES["disposition"], Authorization=bearer)
        acme.revoke_tokens()
        revoked, answer = await post(client, acme, "disposition", BODIES["disposition"], Authorization=bearer)

    assert {key: value for key, value in token.items() if key != "access_token"} == {
        "token_type": "Bearer",
        "expires_in": 90000,
        "scope": "read write",
        "created_at": 1715702400,
    }
    assert (refused, accepted, revoked) == (401, 200, 401)
    assert answer == {"message": "Unauthorized"}


async def test_a_wrong_client_secret_is_answered_401_invalid_client(client: aiohttp.ClientSession) -> None:
    form = {"grant_type": "client_credentials", "client_id": "hub", "client_secret": "wrong"}

    async with (
        WebhookReceiver("acme", auth=OAuth2()) as acme,
        client.post(acme.token_url, data=form) as response,
    ):
        answer = response.status, await response.json()

    assert answer == (401, {"error": "invalid_client"})


async def test_basic_and_api_key_are_checked_on_every_delivery(client: aiohttp.ClientSession) -> None:
    body = BODIES["disposition"]

    async with (
        WebhookReceiver("basic", auth=Basic("hub", "pw")) as basic,
        WebhookReceiver("key", auth=ApiKey("X-Key", "k")) as key,
    ):
        statuses = [
            (await post(client, basic, "disposition", body, Authorization="Basic aHViOnB3"))[0],
            (await post(client, basic, "disposition", body, Authorization="Basic aHViOng="))[0],
            (await post(client, key, "disposition", body, X_Key="k"))[0],
            (await post(client, key, "disposition", body))[0],
        ]

    assert statuses == [200, 401, 200, 401]


async def test_a_signed_delivery_is_verified_and_a_wrong_signature_is_a_violation(
    client: aiohttp.ClientSession,
) -> None:
    body, at = orjson.dumps(BODIES["disposition"]), datetime.now(UTC)
    headers = {
        "webhook_id": "msg_1",
        "webhook_timestamp": str(int(at.timestamp())),
        "webhook_signature": Signature(SECRET).sign("msg_1", at, body.decode()),
    }

    async with WebhookReceiver("acme", signing_secret=SECRET) as acme:
        good, _ = await post(client, acme, "disposition", body, **headers)
        clean = not acme.violations
        bad, _ = await post(client, acme, "disposition", body + b" ", **headers)
        malformed, _ = await post(
            client, acme, "disposition", body, **headers | {"webhook_signature": "nonsense"}
        )

    assert (good, clean, bad, malformed) == (200, True, 400, 400)
    assert len(acme.violations) == 2


async def test_scripted_answers_have_no_effect_and_every_attempt_is_kept(
    client: aiohttp.ClientSession,
) -> None:
    async with WebhookReceiver("acme") as acme:
        acme.respond(503, 2, webhook="confirmation", headers={"Retry-After": "1"})
        statuses = [
            (await post(client, acme, webhook, BODIES[webhook]))[0]
            for webhook in ("confirmation", "disposition", "confirmation", "confirmation")
        ]  # fmt: skip

    assert statuses == [503, 200, 503, 200]
    assert [attempt.status for attempt in acme.attempts] == statuses
    assert len({attempt.body for attempt in acme.attempts if attempt.webhook == "confirmation"}) == 1
    assert len(acme.received) == 2


async def test_a_scripted_refusal_lists_its_errors_until_the_receiver_relents(
    client: aiohttp.ClientSession,
) -> None:
    errors = [{"field": "shipment.billed_weight", "code": "invalid"}]
    async with WebhookReceiver("acme") as acme:
        acme.respond(422, 1000, errors=errors)
        refused = await post(client, acme, "disposition", BODIES["disposition"])
        acme.relent()
        taken = await post(client, acme, "disposition", BODIES["disposition"])

    assert refused[0] == 422
    assert refused[1]["errors"] == errors
    assert taken[0] == 200


async def test_a_repeated_delivery_is_doubled_and_excused_only_when_its_answer_was_cut(
    client: aiohttp.ClientSession,
) -> None:
    async with WebhookReceiver("acme") as acme:
        acme.faults.script("confirmation", [Fault.reset_after, None])
        with pytest.raises(aiohttp.ClientError):
            await post(client, acme, "confirmation", BODIES["confirmation"])
        await post(client, acme, "confirmation", BODIES["confirmation"])
        [after_cut] = acme.doubled()
        await post(client, acme, "confirmation", BODIES["confirmation"])
        [after_repeat] = acme.doubled()

    assert (after_cut.times, after_cut.unanswered, after_cut.excused) == (2, 1, True)
    assert (after_repeat.times, after_repeat.excused) == (3, False)
    assert [attempt.status for attempt in acme.attempts] == [None, 200, 200]


async def test_only_post_of_json_objects_is_taken(client: aiohttp.ClientSession) -> None:
    async with WebhookReceiver("acme") as acme:
        async with client.put(acme.url_of("disposition"), json={}) as response:
            put = response.status
        form, _ = await post(
            client, acme, "disposition", b"a=b", Content_Type="application/x-www-form-urlencoded"
        )
        array, _ = await post(client, acme, "disposition", b"[]")
        broken, _ = await post(client, acme, "disposition", b"{")

    assert (put, form, array, broken) == (405, 415, 400, 400)
    assert len(acme.violations) == 4


async def test_a_receiver_that_does_not_validate_takes_any_object(client: aiohttp.ClientSession) -> None:
    async with WebhookReceiver("acme", validate=False) as acme:
        status, _ = await post(client, acme, "confirmation", {"anything": 1})

    assert status == 200
    assert [received.json for received in acme.received] == [{"anything": 1}]


async def test_a_throttling_fault_speaks_json(client: aiohttp.ClientSession) -> None:
    async with WebhookReceiver("acme") as acme:
        acme.faults.script("disposition", [Fault.throttled_retry_after])
        answer = await post(client, acme, "disposition", BODIES["disposition"])

    assert answer == (429, {"message": "Too Many Requests"})
