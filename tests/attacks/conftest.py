"""Attacks on the trust boundary: everything in this folder needs a real RabbitMQ, and has the marker `broker`."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hub.local_broker.node import PrivateNode
from tests.attacks.rig import Deployment, deployed


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The hook sees the items of the whole session, not only of this folder.
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.broker)


@pytest.fixture
async def deployment(node: PrivateNode, tmp_path: Path) -> AsyncIterator[Deployment]:
    """A deployment of this test's own; the hub is not started yet: `async with deployment.hub(): …`."""
    async with deployed(node, tmp_path) as deployment:
        yield deployment
