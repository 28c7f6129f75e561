"""The map as a RabbitMQ definitions file: for a broker that is set up at boot, with users and permissions.

Only keys that 3.10.8 and 4.x both import (a test holds the file against a list of them). Nothing in it is secret: the
users have an empty password hash, with which nobody can log in, until ``rabbitmqctl change_password`` gives each one
a password. Importing again never changes an existing queue, and resets users and policies to what the file says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hub.models.events import EVENT_TYPES, FULFILLMENT, ORDERS
from hub.topology import UNROUTABLE, Topology

# Nothing: the pattern that no name matches.
_NONE = "^$"
_HUB = r"^hub\."

# user -> (tags, configure, write, read): each may do what its part needs and nothing else.
USERS: dict[str, tuple[list[str], str, str, str]] = {
    # The service: owns everything of the hub, and nothing else.
    "hub": ([], _HUB, _HUB, _HUB),
    # Other services that tell the hub what happened.
    "publisher": ([], _NONE, r"^hub\.fulfillment$", _NONE),
    # Other services that listen: queues of their own, bound to hub.orders.
    "subscriber": ([], r"^svc\.", r"^svc\.", r"^(svc\..*|hub\.orders)$"),
    # People: the management page, shovels, hub letters. amq.default is the default exchange, which shovels use.
    "operator": (
        ["policymaker"],
        _NONE,
        r"^(hub\.(requeue|dead-letter|orders|fulfillment)|amq\.default)$",
        r"^hub\.(.*\.dead|unroutable|wait\..*)$",
    ),
}

# user -> how many connections and channels it may have at once, over all services that share it. Far more than services
# need that keep one connection each, and far less than takes the broker's memory and file handles from the hub. The hub
# and operators have no limit: nobody else holds their passwords.
LIMITS: dict[str, dict[str, int]] = {
    "publisher": {"max-connections": 100, "max-channels": 400},
    "subscriber": {"max-connections": 100, "max-channels": 400},
}


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy of the generated definitions; nobody but ``definitions.json`` sets it."""

    name: str
    pattern: str
    definition: Mapping[str, Any]


# With the lowest priority, so that a policy of an operator wins, and none that touches a work queue, a dead-letter queue or
# a rung. Each says all of its queue: of several policies the broker obeys one.
POLICIES = (
    # A queue of a subscriber that nobody reads must not fill the disk. The oldest goes: refusing the newest would be a
    # refusal to the hub, and stop the orders of everybody.
    Policy("hub.subscribers", r"^svc\.", {"max-length-bytes": 256 * 1024 * 1024, "overflow": "drop-head"}),
    # What no queue wanted may be an order event whose queue was deleted, so none is dropped: when it is full, whoever
    # publishes the next one is refused, and keeps it.
    Policy(
        "hub.unroutable",
        f"^{re.escape(UNROUTABLE)}$",
        {"max-length-bytes": 512 * 1024 * 1024, "overflow": "reject-publish"},
    ),
)


def render(topology: Topology, *, vhost: str = "/") -> dict[str, Any]:
    """Return the definitions of a map, in its order; everything in ``vhost``."""
    return {
        "vhosts": [{"name": vhost}],
        "users": [_user(name) for name in USERS],
        "permissions": [
            {"user": name, "vhost": vhost, "configure": configure, "write": write, "read": read}
            for name, (_, configure, write, read) in USERS.items()
        ],
        "topic_permissions": [
            {"user": name, "vhost": vhost, "exchange": exchange, "write": write, "read": read}
            for name, (exchange, write, read) in _topics(topology).items()
        ],
        "policies": [
            {
                "name": policy.name,
                "vhost": vhost,
                "pattern": policy.pattern,
                "apply-to": "queues",
                "priority": 0,
                "definition": dict(policy.definition),
            }
            for policy in POLICIES
        ],
        "exchanges": [
            {
                "name": exchange.name,
                "vhost": vhost,
                "type": exchange.type,
                "durable": True,
                "auto_delete": False,
                "internal": False,
                "arguments": dict(exchange.arguments),
            }
            for exchange in topology.exchanges
        ],
        "queues": [
            {
                "name": queue.name,
                "vhost": vhost,
                "durable": True,
                "auto_delete": False,
                "arguments": dict(queue.arguments),
            }
            for queue in topology.queues
        ],
        "bindings": [
            {
                "source": binding.exchange,
                "vhost": vhost,
                "destination": binding.queue,
                "destination_type": "queue",
                "routing_key": binding.routing_key,
                "arguments": {},
            }
            for binding in topology.bindings
        ],
    }


def to_json(topology: Topology, *, vhost: str = "/") -> str:
    """Return the definitions as text: the same map gives the same text, with a line end at its end."""
    return json.dumps(render(topology, vhost=vhost), indent=2) + "\n"


def _topics(topology: Topology) -> dict[str, tuple[str, str, str]]:
    """Return user -> (exchange, write, read): on a topic exchange the routing key can be restricted as well."""
    return {
        # The documented keys and no others: a misspelt one is refused, and so is one in the header CC or BCC.
        "publisher": (FULFILLMENT, _one_of(_keys(FULFILLMENT, topology)), _NONE),
        "subscriber": (ORDERS, _NONE, ".*"),
    }


def _keys(exchange: str, topology: Topology) -> Iterable[str]:
    """Return the routing keys of an exchange, with the sources that some queue is bound to by name."""
    sources = sorted({source for queue in topology.work_queues for source in queue.sources or ()})
    for kind in EVENT_TYPES.values():
        if kind.exchange == exchange:
            yield from kind.routing_keys(sources)


def _one_of(names: Iterable[str]) -> str:
    return f"^({'|'.join(map(re.escape, names))})$"


def _user(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "password_hash": "",
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": USERS[name][0],
        **({"limits": LIMITS[name]} if name in LIMITS else {}),
    }
