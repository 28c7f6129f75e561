"""Policies that would make the broker drop or expire what lies in queues of the hub, found through the management API.

Arguments of a queue win over a policy for most of what counts here, but a length limit, a message TTL and an expiry that
the map does not set are a policy's to set. Read by doctor, ``hub topology verify`` and the start; nothing is changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import orjson
from yarl import URL

from hub.amqp.topology.definitions import POLICIES
from hub.config.broker import Broker
from hub.errors import HubError
from hub.http.auth import BasicAuthorizer
from hub.http.session import HttpSession
from hub.topology import Topology

# What drops messages or queues by itself.
LIMITS = ("max-length", "max-length-bytes", "message-ttl", "expires")
_KINDS = {"policies": "policy", "operator-policies": "operator policy"}
_APPLIES = frozenset({"all", "queues", "quorum_queues"})
_PATIENCE = timedelta(seconds=3)
_LARGEST_ANSWER = 4 << 20
_OK = 200
# Queues that one sentence names.
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Limiting:
    """A policy that limits queues of the hub: its kind and name, the keys of it, and the queues."""

    name: str
    keys: tuple[str, ...]
    queues: tuple[str, ...]

    def __str__(self) -> str:
        more = f" and {len(self.queues) - _SHOWN} more" if len(self.queues) > _SHOWN else ""
        return f"{self.name} sets {', '.join(self.keys)} on {', '.join(self.queues[:_SHOWN])}{more}"


@dataclass(frozen=True, slots=True)
class Found:
    """The policies that limit queues; or why that is not known."""

    limiting: tuple[Limiting, ...] = ()
    unknown: str = ""


async def find_limiting(settings: Broker, topology: Topology) -> Found:
    """Look for policies of the virtual host that limit queues of the map; never raises for an API that is away."""
    if settings.management_url is None:
        return Found(unknown="broker.management_url is not set")
    session = HttpSession("broker management", timeout=_PATIENCE)
    try:
        found: list[Limiting] = []
        for path, kind in _KINDS.items():
            policies = await _read(session, settings, path)
            found += _limiting(kind, policies, [queue.name for queue in topology.queues])
    except (HubError, ValueError, KeyError, TypeError, AttributeError) as error:
        said = (
            str(error)
            if isinstance(error, HubError | _Unreadable)
            else "an answer that is no list of policies"
        )
        return Found(unknown=said)
    finally:
        await session.close()
    return Found(tuple(found))


class _Unreadable(ValueError):
    """The API answered, but not with policies."""


async def _read(session: HttpSession, settings: Broker, path: str) -> Sequence[Mapping[str, Any]]:
    assert settings.management_url is not None
    base = URL(settings.management_url.get_secret_value())
    broker = URL(settings.hosts[0]) if settings.hosts else URL()
    user, password = (base.user, base.password) if base.user else (broker.user, broker.password)
    vhost = quote(broker.path[1:] or "/", safe="")
    bare = str(base.with_user(None)).rstrip("/")
    answer = await session.request(
        "GET",
        f"{bare}/api/{path}/{vhost}",
        headers=await BasicAuthorizer(user or "", password or "").headers(),
        body=None,
        read_at_most=_LARGEST_ANSWER,
        overflow="error",
    )
    if answer.status != _OK:
        raise _Unreadable(
            f"expected the policies from broker.management_url, got status {answer.status}; its user needs the tag"
            " policymaker, such as operator"
        )
    policies = orjson.loads(answer.body)
    if not isinstance(policies, list):
        raise TypeError
    return policies


def _limiting(kind: str, policies: Iterable[Mapping[str, Any]], queues: Sequence[str]) -> list[Limiting]:
    """One policy of a kind applies to a queue: the one of the highest priority that matches its name."""
    ranked = sorted(policies, key=lambda policy: -policy.get("priority", 0))
    hit: dict[str, list[str]] = {}
    for queue in queues:
        for policy in ranked:
            if policy.get("apply-to", "all") in _APPLIES and _matches(policy["pattern"], queue):
                hit.setdefault(policy["name"], []).append(queue)
                break
    return [
        Limiting(f"{kind} {policy['name']}", keys, tuple(hit[policy["name"]]))
        for policy in ranked
        if policy["name"] in hit
        and not _is_generated(policy)
        and (keys := tuple(key for key in LIMITS if key in policy["definition"]))
    ]


def _is_generated(policy: Mapping[str, Any]) -> bool:
    """Whether the generated definitions have this policy, as it is: its limit is one of the hub."""
    return any(
        (policy["name"], policy["pattern"], policy["definition"])
        == (ours.name, ours.pattern, dict(ours.definition))
        for ours in POLICIES
    )


def _matches(pattern: str, queue: str) -> bool:
    try:
        return re.search(pattern, queue) is not None
    except re.error:
        # The broker knows expressions that Python does not: better named once too often.
        return True
