"""The partners' part of ``hub doctor``: reached, credentials taken, clocks alike.

Only what has no effect is asked: iQmetrix' current feed page, RetailOps' carrier classes, tokens, and for webhook
clients no more than a connection, since every post would be a webhook. The one request without credentials, for the
partner's clock, is a GET of the base address, whatever it is answered.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from hub.config.settings import Iqmetrix, Retailops
from hub.config.webhooks import WebhookClient
from hub.errors import HubError, InvalidMessage, TransientError, Unauthorized
from hub.http.auth import authorizer
from hub.http.session import HttpSession
from hub.observability.health_checks import Diagnosis, fault, well
from hub.partners.iqmetrix.client import IqmetrixClient
from hub.partners.retailops.answers import Refused
from hub.partners.retailops.client import RetailopsClient

# For one request or connection; a partner that is slower than this has a problem worth a look.
_PATIENCE = timedelta(seconds=10)
# Beyond it signatures are refused (Standard Webhooks allows 5 min) and due dates come too early or too late.
MOST_SKEW = timedelta(seconds=60)

Now = Callable[[], datetime]


def _utc_now() -> datetime:
    return datetime.now(UTC)


async def examine_iqmetrix(account: Iqmetrix, now: Now = _utc_now) -> list[Diagnosis]:
    """Obtain a token, read the current feed page, compare clocks."""
    name = f"iqmetrix {account.account}"
    session = HttpSession("iqmetrix", timeout=_PATIENCE)
    client = IqmetrixClient(account, session)
    try:
        await client.current_page()
        found = [well(name, "token obtained, current feed page read")]
    except HubError as error:
        keys = "username, password, client_id, client_secret, token_url"
        found = [_refused(name, "a token and the current feed page", error, keys)]
    found += await _clock(name, session, account.base_url, now)
    await client.close()
    return found


async def examine_retailops(vendor: Retailops, now: Now = _utc_now) -> list[Diagnosis]:
    """Read the carrier classes, look for those of the settings among them, compare clocks."""
    name = f"retailops {vendor.account}"
    session = HttpSession("retailops", timeout=_PATIENCE)
    client = RetailopsClient(vendor, session)
    try:
        classes = await client.carrier_classes()
        found = [well(name, f"key accepted, {len(classes)} carrier classes read")]
        found += await _ship_classes(name, client)
    except HubError as error:
        found = [_refused(name, "the carrier classes of the account", error, "api_key, base_url")]
    found += await _clock(name, session, vendor.base_url, now)
    await client.close()
    return found


async def examine_webhooks(client: WebhookClient) -> list[Diagnosis]:
    """Connect to each host of the client's addresses, and obtain a token where it has a token service."""
    name = f"webhooks {client.name}"
    addresses = (
        client.confirmation_url,
        client.cancellation_url,
        client.partial_cancellation_url,
        client.disposition_url,
    )
    places = {
        (parts.scheme, parts.hostname or "", parts.port) for parts in map(urlsplit, filter(None, addresses))
    }
    found = list(await asyncio.gather(*(_connected(name, *place) for place in sorted(places, key=str))))
    if not places:
        remedy = "set at least one address of the client, or remove its section"
        found.append(fault(name, expected="an address to post to", got="none", remedy=remedy))
    if client.auth.type == "oauth2":
        found.append(await _token(name, client))
    return found


async def _token(name: str, client: WebhookClient) -> Diagnosis:
    session = HttpSession(client.name, timeout=_PATIENCE)
    try:
        await authorizer(client.auth, session, partner=client.name).headers()
    except TransientError as error:
        return _refused(
            f"{name} token", "a token", error, "auth.token_url, auth.client_id, auth.client_secret"
        )
    finally:
        await session.close()
    return well(f"{name} token", "obtained")


async def _connected(name: str, scheme: str, host: str, port: int | None) -> Diagnosis:
    port = port or (443 if scheme == "https" else 80)
    secure = ssl.create_default_context() if scheme == "https" else None
    try:
        async with asyncio.timeout(_PATIENCE.total_seconds()):
            _, writer = await asyncio.open_connection(host, port, ssl=secure)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
    except TimeoutError:
        got = f"no connection to {host}:{port} within {_PATIENCE.total_seconds():g} s"
    except ssl.SSLCertVerificationError as error:
        got = f"a certificate of {host}:{port} that cannot be trusted: {error.verify_message}"
    except OSError as error:
        got = f"no connection to {host}:{port}: {error.strerror or type(error).__name__}"
    else:
        return well(name, f"{host}:{port} accepts connections")
    remedy = "ask the client, or correct its addresses; what is sent meanwhile waits in the ladder"
    return fault(name, expected=f"a connection to {host}:{port}", got=got, remedy=remedy)


async def _ship_classes(name: str, client: RetailopsClient) -> Sequence[Diagnosis]:
    found = []
    for ours, theirs in client.settings.ship_classes.items():
        try:
            await client.carrier_class_id(theirs, refresh_on_miss=False)
        except InvalidMessage as error:
            remedy = f"correct retailops.ship_classes for {ours!r}, or ask RetailOps to add the class"
            found.append(
                fault(f"{name} ship classes", expected=f"the class {theirs!r}", got=str(error), remedy=remedy)
            )
    return found


async def _clock(name: str, session: HttpSession, url: str, now: Now) -> Sequence[Diagnosis]:
    """Compare our clock with the ``Date`` of an answer; nothing where there is none."""
    begun = now()
    try:
        answer = await session.request(
            "GET", url, headers={}, body=None, read_at_most=1024, body_for_errors_only=True
        )
        theirs = parsedate_to_datetime(answer.headers["Date"])
    except (HubError, KeyError, ValueError):
        return []
    theirs = theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC)
    # The date was made somewhere between question and answer, and is cut to the second.
    off = max(theirs - now(), begun - theirs - timedelta(seconds=1), timedelta(0))
    check = f"clock against {name}"
    if off > MOST_SKEW:
        direction = "behind" if theirs > begun else "ahead of"
        got = f"this machine is {off.total_seconds():.0f} s {direction} it"
        remedy = "set the clock, and keep it with NTP (timedatectl shows the state)"
        expected = f"at most {MOST_SKEW.total_seconds():.0f} s between the clocks"
        return [fault(check, expected=expected, got=got, remedy=remedy)]
    return [well(check, f"within {max(off.total_seconds(), 1):.0f} s")]


def _refused(name: str, expected: str, error: HubError, keys: str) -> Diagnosis:
    # RetailOps publishes no codes: what it refuses of a request that cannot be wrong is most likely the key.
    remedy = (
        f"correct the credentials ({keys})"
        if isinstance(error, Unauthorized | Refused)
        else "check the address and the network; ask the partner if it is down"
    )
    return fault(name, expected=expected, got=str(error), remedy=remedy)
