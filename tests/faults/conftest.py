"""What plays on a real RabbitMQ carries the markers without saying so; the checker's own tests need none."""

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        named = getattr(item, "fixturenames", ())
        if item.path.is_relative_to(Path(__file__).parent) and {"node", "broker_url"} & {*named}:
            item.add_marker(pytest.mark.broker)
