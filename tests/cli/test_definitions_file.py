"""``rabbitmq/definitions.json`` is the export of the example's settings, in keys that 3.10.8 and 4.x both import."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hub.amqp.topology import definitions
from hub.config.settings import load
from hub.service.flows import topology_of
from hub.topology import Topology
from tests.cli.conftest import EXAMPLE, Hub

FILE = Path(__file__).parents[2] / "rabbitmq" / "definitions.json"

# What an import may hold: keys of objects, and arguments with the values' type. 3.10.8 refuses or silently drops others.
KEYS = {
    "vhosts": {"name"},
    "users": {"name", "password_hash", "hashing_algorithm", "tags"},
    "permissions": {"user", "vhost", "configure", "write", "read"},
    "topic_permissions": {"user", "vhost", "exchange", "write", "read"},
    "policies": {"name", "vhost", "pattern", "apply-to", "priority", "definition"},
    "exchanges": {"name", "vhost", "type", "durable", "auto_delete", "internal", "arguments"},
    "queues": {"name", "vhost", "durable", "auto_delete", "arguments"},
    "bindings": {"source", "vhost", "destination", "destination_type", "routing_key", "arguments"},
}
ARGUMENTS = {
    "alternate-exchange": str,
    "x-queue-type": str,
    "x-delivery-limit": int,
    "x-message-ttl": int,
    "x-dead-letter-exchange": str,
    "x-dead-letter-routing-key": str,
    "x-dead-letter-strategy": str,
    "x-overflow": str,
}


@pytest.fixture
def topology() -> Topology:
    return topology_of(load(EXAMPLE, {}))


@pytest.fixture
def rendered(topology: Topology) -> dict[str, Any]:
    return definitions.render(topology)


def test_the_file_is_the_export_for_the_example(topology: Topology, hub: Hub) -> None:
    remedy = "hub --config hub.example.toml topology export > rabbitmq/definitions.json"

    assert FILE.read_text() == definitions.to_json(topology), remedy
    assert hub("topology", "export").output == FILE.read_text(), remedy


def test_every_key_is_one_that_old_and_new_brokers_import(rendered: dict[str, Any]) -> None:
    assert set(rendered) == set(KEYS)
    for kind, keys in KEYS.items():
        for item in rendered[kind]:
            # Users with limits have one key more.
            assert set(item) - {"limits"} == keys, kind
            for name, value in item.get("arguments", {}).items():
                assert type(value) is ARGUMENTS[name], name


def test_every_queue_that_dead_letters_does_so_at_least_once_and_has_no_length_limit(
    rendered: dict[str, Any],
) -> None:
    for queue in rendered["queues"]:
        arguments = queue["arguments"]
        assert arguments["x-queue-type"] == "quorum"
        assert arguments["x-delivery-limit"] > 0
        if "x-dead-letter-exchange" in arguments:
            assert arguments["x-dead-letter-strategy"] == "at-least-once"
            assert arguments["x-overflow"] == "reject-publish"


def test_every_binding_and_argument_names_something_of_the_file(rendered: dict[str, Any]) -> None:
    exchanges = {exchange["name"] for exchange in rendered["exchanges"]}
    queues = {queue["name"] for queue in rendered["queues"]}

    for binding in rendered["bindings"]:
        assert binding["source"] in exchanges
        assert binding["destination"] in queues
    for item in (*rendered["exchanges"], *rendered["queues"]):
        for name in ("alternate-exchange", "x-dead-letter-exchange"):
            assert item["arguments"].get(name, "hub.orders") in exchanges
    assert len(exchanges) == len(rendered["exchanges"])
    assert len(queues) == len(rendered["queues"])


def test_policies_limit_what_nobody_reads_and_touch_no_other_queue(rendered: dict[str, Any]) -> None:
    names = ["svc.picking", *(queue["name"] for queue in rendered["queues"])]

    limited = {
        policy["name"]: [name for name in names if re.search(policy["pattern"], name)]
        for policy in rendered["policies"]
    }

    assert limited == {"hub.subscribers": ["svc.picking"], "hub.unroutable": ["hub.unroutable"]}
    overflow = [policy["definition"]["overflow"] for policy in rendered["policies"]]
    assert overflow == ["drop-head", "reject-publish"]


def test_users_of_others_have_limits_and_the_hub_and_operators_have_none(rendered: dict[str, Any]) -> None:
    limits = {user["name"]: user.get("limits") for user in rendered["users"]}

    most = {"max-connections": 100, "max-channels": 400}
    assert limits == {"hub": None, "operator": None, "publisher": most, "subscriber": most}


def test_the_file_holds_no_password(rendered: dict[str, Any]) -> None:
    assert [user["name"] for user in rendered["users"]] == ["hub", "publisher", "subscriber", "operator"]
    assert {user["password_hash"] for user in rendered["users"]} == {""}
    assert "guest" not in FILE.read_text()


def test_the_same_map_gives_the_same_text(topology: Topology) -> None:
    text = definitions.to_json(topology)

    assert text == definitions.to_json(topology)
    assert text.endswith("}\n")
    assert json.loads(text) == definitions.render(topology)


def test_everything_is_in_the_virtual_host_that_was_asked_for(topology: Topology) -> None:
    rendered = definitions.render(topology, vhost="north")

    assert rendered["vhosts"] == [{"name": "north"}]
    for kind in KEYS:
        if "vhost" in KEYS[kind]:
            assert {item["vhost"] for item in rendered[kind]} == {"north"}
