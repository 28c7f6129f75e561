"""The AsyncAPI document by the public parser."""

import json
import subprocess
from typing import Any

from hub.contract.json_schema import routing_keys
from hub.models.events import EVENT_TYPES
from tests.contract.conftest import FOREIGN, ROOT

# AsyncAPI 3.0 is what was promised; that there is a 3.1 is no fault of the document.
HINTS = {"asyncapi-latest-version"}


def test_the_public_parser_finds_nothing_wrong_and_would_say_so(node_js: str) -> None:
    good = (ROOT / "schemas" / "asyncapi.json").read_text(encoding="utf-8")
    document = json.loads(good)
    document["channels"]["orderShipped"]["bindings"]["amqp"]["is"] = "pipe"

    said, of_a_bad_one = parsed(node_js, good, json.dumps(document))

    assert [each for each in said["findings"] if each["code"] not in HINTS] == []
    assert set(said["channels"]) == {routing_keys(kind)[0] for kind in EVENT_TYPES.values()}
    assert said["channels"]["order.created.{source}"] == ["application/cloudevents+json"]
    assert sorted(said["channels"]["order.shipped"]) == [
        "application/cloudevents+json",
        "application/json",
        "application/json",
    ]
    assert any(
        each["severity"] == 0 and "channels.orderShipped" in each["path"] for each in of_a_bad_one["findings"]
    )


def parsed(node_js: str, *documents: str) -> list[dict[str, Any]]:
    """Parse several in one process: the parser takes seconds to come up."""
    done = subprocess.run(
        [node_js, "asyncapi_check.mjs"],
        cwd=FOREIGN,
        input=json.dumps(documents),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers
