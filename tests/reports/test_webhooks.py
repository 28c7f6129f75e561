"""What people report of webhooks and their signatures, tried on the sender and on the settings of a client.

- github/docs #3567, box/box-node-sdk #568, Jericho/ZoomNet #349, greenhouse-api-docs #485: an emoji breaks the signature.
- svix/svix-webhooks #93, symfony/symfony #65675: a retry that carries its first time is refused as too old.
- nextlyhq/nextly #227, sandbaseai/sandbase-harness #256: a secret without its prefix is read in two ways.
- nozzlegear/ShopifySharp #919, Shopify/shopify-api-ruby #1247: a duplicate cannot be told, since it has no id.
- NousResearch/hermes-agent #65307: a signature that is not ASCII ends the receiver with an error.
"""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr, ValidationError
from standardwebhooks import Webhook

from hub.config.webhooks import WebhookClient
from hub.partners.optoro.client import WebhookEndpoint, public_id
from hub.partners.optoro.translate import Kind
from tests.responses import Responses

HOOK = "https://acme.example/hook"
KEY = "webhook:acme:confirmation:retailops:27:D1 — Zoë"
SECRET = f"whsec_{base64.b64encode(bytes(range(24))).decode()}"
TEXTS = [
    "Test 🚒 \u2019 \u2013 🚗",
    "\u2028\u2028724812-22",
    "Reçu — 検品",
    "cafe\u0301",
    "</script>",
    "\\u00e9",
]


def client(secret: str = SECRET) -> WebhookClient:
    return WebhookClient(name="acme", confirmation_url=HOOK, signing_secret=SecretStr(secret))


@pytest.mark.parametrize("text", TEXTS)
async def test_the_bytes_that_are_signed_are_the_bytes_that_are_sent(text: str) -> None:
    body = json.dumps({"shipment": text}, ensure_ascii=False).encode()

    with Responses() as receiver:
        receiver.post(HOOK)
        endpoint = WebhookEndpoint(client())
        await endpoint.post(HOOK, body, webhook_id=KEY, kind=Kind.CONFIRMATION)
        await endpoint.close()
        (call,) = receiver.sent("POST", HOOK)

    assert call["data"] == body
    assert Webhook(SECRET).verify(body, call["headers"]) == {"shipment": text}


async def test_a_later_attempt_has_the_same_id_and_a_time_of_its_own() -> None:
    now = datetime.now(UTC)
    moments = iter([now - timedelta(hours=1), now - timedelta(hours=1), now, now])

    with Responses() as receiver:
        receiver.post(HOOK, repeat=True)
        endpoint = WebhookEndpoint(client(), now=lambda: next(moments))
        for _ in range(2):
            await endpoint.post(HOOK, b"{}", webhook_id=KEY, kind=Kind.CONFIRMATION)
        await endpoint.close()
        first, second = receiver.sent("POST", HOOK)

    assert first["headers"]["webhook-id"] == second["headers"]["webhook-id"] == public_id(KEY)
    assert Webhook(SECRET).verify(b"{}", second["headers"]) == {}


def test_every_header_of_a_webhook_is_ascii_whatever_its_event_is_called() -> None:
    assert public_id(KEY).isascii()
    assert public_id(KEY).isprintable()


@pytest.mark.parametrize(
    "secret", [SECRET.removeprefix("whsec_"), "s3cret", "whsec_", "whsec_a-b_", "whsec_a b="]
)
def test_a_secret_that_could_be_read_in_two_ways_is_refused(secret: str) -> None:
    with pytest.raises(ValidationError, match="expected whsec_ and the secret in base64"):
        client(secret)
