"""Everything in this folder needs a real RabbitMQ: it carries the marker `broker` without saying so."""

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The hook sees the items of the whole session, not only of this folder.
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.broker)
