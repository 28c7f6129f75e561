"""The management API of a private node, for one virtual host: what the definitions are imported and looked at with."""

import json
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

from pydantic import SecretStr

from hub.amqp.topology import definitions
from hub.local_broker.node import PrivateNode
from hub.topology import Topology

# What every user of the definitions gets in a test, once it has one at all.
PASSWORD = "given"
# What release 5aa80b6 shipped: work queues with another delivery limit, letters without an overflow.
EARLIER_DEFINITIONS = Path(__file__).parents[1] / "data" / "definitions_of_earlier_release.json"


@dataclass(frozen=True)
class Management:
    """The API as the node's administrator, or as ``user`` with the password that all are given here."""

    node: PrivateNode
    vhost: str
    user: str | None = None

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Give what the API answers; anything but success raises urllib's HTTPError."""
        name, password = (self.user, PASSWORD) if self.user else (self.node.user, self.node.password)
        request = Request(
            f"{self.node.management_url}/api/{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={
                "Authorization": f"Basic {b64encode(f'{name}:{password}'.encode()).decode()}",
                "Content-Type": "application/json",
            },
        )
        with build_opener(ProxyHandler({})).open(request, timeout=20) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def import_definitions(self, topology: Topology) -> None:
        self.ask("POST", "definitions", definitions.render(topology, vhost=self.vhost))

    def import_file(self, path: Path) -> None:
        """Import a definitions file that is about the default virtual host."""
        document = json.loads(path.read_text().replace('"vhost": "/"', f'"vhost": "{self.vhost}"'))
        self.ask("POST", "definitions", document | {"vhosts": [{"name": self.vhost}]})

    def url_of(self, user: str) -> SecretStr:
        """Give the user a password, as an operator does after the import, and return its address."""
        found = self.ask("GET", f"users/{user}")
        self.ask("PUT", f"users/{user}", {"password": PASSWORD, "tags": found["tags"]})
        return SecretStr(f"amqp://{user}:{PASSWORD}@127.0.0.1:{self.node.port}/{quote(self.vhost, safe='')}")
