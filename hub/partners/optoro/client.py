"""Posts webhooks to one client's endpoint, byte for byte as they were encoded.

Called by ``consumers/webhooks/deliver_webhooks.py``. One attempt is one post, or two when the first is answered 401 and the
token can be renewed; when to try again is the caller's business. What a status means is the table of the client's
``retry_on``: by "Optoro Drop Ship webhooks v1.0.0" and "Optoro Disposition Update" every error is retried alike.

Each post carries id and time of Standard Webhooks 1.0, so that a receiver can drop what it has seen before, and with a
signing secret the signature, so that it can tell that the hub sent it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from standardwebhooks import Webhook as Signer

from hub.config.webhooks import WebhookClient
from hub.errors import ConfigError
from hub.http.auth import authorizer
from hub.http.call import send_authorized
from hub.http.classify import WEBHOOK_POLICIES, raise_for_status, validation_said
from hub.http.measure import Measured
from hub.http.session import HttpSession
from hub.partners.optoro.translate import Kind
from hub.partners.optoro.wire import FIELD_NAMES

# Bytes of an answer that are read: enough for the list of faults in a 422, and no more of what nobody asked for.
ANSWER_BYTES = 16 * 1024
# Hexadecimal digits of the digest in a webhook-id: 128 bits.
ID_DIGITS = 32


_FAULTS = validation_said(FIELD_NAMES)


class WebhookEndpoint:
    """The endpoint of one client, with connections, time limit and credentials of its own.

    Args:
        client: the client's settings.
        now: the clock for signatures and for hints when to come back.

    Raises:
        ConfigError: the signing secret is not base64.
    """

    def __init__(
        self, client: WebhookClient, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._client = client
        self._now = now
        self._session = HttpSession(
            client.name, timeout=client.timeout, limit=client.connections, traced=_traced(client)
        )
        self._authorizer = authorizer(client.auth, self._session, partner=client.name)
        self._signer = _signer(client)

    async def post(self, url: str, body: bytes, *, webhook_id: str, kind: Kind) -> None:
        """Post exactly these bytes and return when the receiver took them, which is any 2xx, whatever its body.

        Args:
            url: one of the client's addresses; redirects are not followed.
            body: the encoded webhook.
            webhook_id: what stays the same over all attempts of this webhook, its effect key; only a digest of it
                is sent.
            kind: which of the four it is, for the metrics.

        Raises:
            PartnerUnavailable: no answer in time, no connection, or an answer that is to be retried.
            Throttled: the same, with the receiver's or its token service's hint when to come back.
            Unauthorized: 401, also with a new token if the client's credentials can be renewed.
            PartnerRejected: refused for good; only if ``retry_on`` is ``"server"``.
        """
        with Measured(self._client.name, kind):
            response = await send_authorized(
                self._session,
                self._authorizer,
                "POST",
                url,
                headers={"Content-Type": "application/json", **self._identity(webhook_id, body)},
                body=body,
                read_at_most=ANSWER_BYTES,
                body_for_errors_only=True,
            )
            raise_for_status(
                response,
                partner=self._client.name,
                operation="the webhook",
                policy=WEBHOOK_POLICIES[self._client.retry_on],
                read=_FAULTS,
                now=self._now(),
            )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    def _identity(self, webhook_id: str, body: bytes) -> Mapping[str, str]:
        message_id, at = public_id(webhook_id), self._now()
        headers = {"webhook-id": message_id, "webhook-timestamp": str(int(at.timestamp()))}
        if self._signer is not None:
            signature = self._signer.sign(msg_id=message_id, timestamp=at.astimezone(UTC), data=body.decode())
            headers["webhook-signature"] = signature
        return headers


def public_id(effect_key: str) -> str:
    """Return the ``webhook-id`` of an effect: the same for all its attempts, and nobody can read the key from it."""
    return f"msg_{hashlib.sha256(effect_key.encode()).hexdigest()[:ID_DIGITS]}"


def _traced(client: WebhookClient) -> frozenset[str]:
    """Return the addresses that hear of our traces: the client's own, and never its token service."""
    urls = (
        client.confirmation_url,
        client.cancellation_url,
        client.partial_cancellation_url,
        client.disposition_url,
    )
    return frozenset(url for url in urls if url) if client.traceparent else frozenset()


def _signer(client: WebhookClient) -> Signer | None:
    if client.signing_secret is None:
        return None
    try:
        return Signer(client.signing_secret.get_secret_value())
    except ValueError:
        raise ConfigError(
            f"webhooks: signing_secret of {client.name}: expected whsec_ and the secret in base64"
        ) from None
