"""The README and the page of settings say what is so: examples are valid events, the table is the derived one."""

import json
import re
from pathlib import Path

from hub.config.reference import settings_table
from hub.messaging.cloudevents import decode
from hub.messaging.message import Message
from hub.models.events import EVENT_TYPES, FULFILLMENT

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_settings_table_is_the_derived_one() -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")

    assert page.endswith(f"\n\n{settings_table().strip()}\n"), "put what hub config table prints at its end"
    assert "(docs/settings.md)" in README


def test_the_shell_example_is_a_valid_event() -> None:
    (body,) = re.findall(r"-b '(\{.*\})'", README)

    event = decode(Message(body.encode(), routing_key="order.shipped", content_type="application/json"))

    assert event.order_id == json.loads(body)["order_id"]


def test_every_type_that_others_publish_is_in_the_table() -> None:
    for kind in EVENT_TYPES.values():
        if kind.exchange == FULFILLMENT:
            assert f"`{kind.name}`" in README
