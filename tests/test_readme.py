"""The README says what is so: its settings table is the derived one, its examples are valid events."""

import json
import re
from pathlib import Path

from hub.amqp.codec import decode
from hub.cli.settings_table import settings_table
from hub.messaging.message import Message
from hub.models.events import EVENT_TYPES, FULFILLMENT

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_settings_table_is_the_derived_one() -> None:
    assert settings_table().strip() in README, "run: hub config table, and put it at the end of README.md"


def test_the_shell_example_is_a_valid_event() -> None:
    (body,) = re.findall(r"-b '(\{.*\})'", README)

    event = decode(Message(body.encode(), routing_key="order.shipped", content_type="application/json"))

    assert event.order_id == json.loads(body)["order_id"]


def test_every_type_that_others_publish_is_in_the_table() -> None:
    for kind in EVENT_TYPES.values():
        if kind.exchange == FULFILLMENT:
            assert f"`{kind.name}`" in README
