"""The hub's webhook signatures, verified by the public Standard Webhooks libraries over real posts."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook, WebhookVerificationError

from hub.config.webhooks import WebhookClient
from hub.errors import Unauthorized
from hub.partners.optoro.client import WebhookEndpoint, public_id
from hub.partners.optoro.translate import Kind
from hub.sandbox.webhooks.receiver import WebhookReceiver
from tests.contract.conftest import FOREIGN
from tests.contract.rig import Running, started

SECRET = f"whsec_{base64.b64encode(bytes(range(24))).decode()}"
ANOTHER = f"whsec_{base64.b64encode(bytes(range(1, 25))).decode()}"
KEY = "webhook:acme:disposition:example"
# Text beyond ASCII: a signature is over bytes, which is where two libraries may differ.
PAYLOAD = {"upc": "812345678904", "to_disposition": "Reçu — 検品"}
BODY = json.dumps(PAYLOAD, ensure_ascii=False).encode()


@asynccontextmanager
async def receiver() -> AsyncIterator[tuple[Running, str]]:
    """The endpoint in JavaScript, and its address."""
    code = (FOREIGN / "webhook_receiver.mjs").read_text(encoding="utf-8")
    async with started("js", code, WEBHOOK_SECRET=SECRET) as program:
        await program.says("port ")
        yield program, f"http://127.0.0.1:{program.output.split()[1]}/dispositions"


async def said(program: Running, number: int) -> list[dict[str, Any]]:
    """Wait until the endpoint has told of so many posts."""
    await program.says("verified", number)
    return [json.loads(line) for line in program.output.splitlines()[1:]]


def endpoint(url: str, **changes: Any) -> WebhookEndpoint:
    client = WebhookClient(
        name="acme",
        disposition_url=url,
        allow_http=True,
        signing_secret=SecretStr(changes.pop("secret", SECRET)),
    )
    return WebhookEndpoint(client, **changes)


async def test_python_verifies_what_arrived_over_http() -> None:
    async with WebhookReceiver("acme", validate=False, signing_secret=SECRET) as acme:
        sender = endpoint(acme.url_of("disposition"))
        await sender.post(acme.url_of("disposition"), BODY, webhook_id=KEY, kind=Kind.DISPOSITION)
        await sender.close()

    (received,) = acme.received
    assert Webhook(SECRET).verify(received.body, dict(received.headers)) == PAYLOAD
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(received.body + b" ", dict(received.headers))


async def test_javascript_verifies_each_post_and_sees_one_id_for_all_attempts(node_js: str) -> None:
    async with receiver() as (program, url):
        sender = endpoint(url)
        await sender.post(url, BODY, webhook_id=KEY, kind=Kind.DISPOSITION)
        await sender.post(url, BODY, webhook_id=KEY, kind=Kind.DISPOSITION)
        await sender.close()
        answers = await said(program, 2)

    assert answers == [{"verified": True, "id": public_id(KEY), "payload": PAYLOAD}] * 2


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"secret": ANOTHER}, "No matching signature found"),
        ({"now": lambda: datetime.now(UTC) - timedelta(minutes=6)}, "Message timestamp too old"),
    ],
)
async def test_javascript_refuses_another_secret_and_an_old_post(
    changes: dict[str, Any], why: str, node_js: str
) -> None:
    async with receiver() as (program, url):
        sender = endpoint(url, **changes)
        with pytest.raises(Unauthorized):
            await sender.post(url, BODY, webhook_id=KEY, kind=Kind.DISPOSITION)
        await sender.close()
        answers = await said(program, 1)

    assert answers == [{"verified": False, "why": why}]
