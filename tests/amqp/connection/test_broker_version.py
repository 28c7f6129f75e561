"""Which brokers the hub refuses, by what they say of themselves."""

from typing import Any

import pytest

from hub.amqp.connection.broker_version import name_and_version, refuse_too_old
from hub.errors import ConfigError


def server(version: object, product: object = "RabbitMQ") -> dict[str, Any]:
    """What a broker says of itself when a connection opens."""
    return {"product": product, "version": version, "platform": "Erlang/OTP 25.2.3", "capabilities": {}}


@pytest.mark.parametrize("version", ["3.10.0", "3.10.8", "3.13.7", "4.0.0-rc.1", "4.3.6+1.gabc", b"3.12.14"])
def test_a_broker_that_is_new_enough_passes(version: object) -> None:
    refuse_too_old(server(version))


@pytest.mark.parametrize("version", ["3.9.29", "3.8.2", "2.8.7", b"3.9.0"])
def test_a_broker_that_is_too_old_is_refused_with_what_was_expected_and_what_came(version: object) -> None:
    with pytest.raises(
        ConfigError, match=r"expected RabbitMQ 3\.10 or later, got RabbitMQ [23]\.\d.*upgrade"
    ):
        refuse_too_old(server(version))


@pytest.mark.parametrize(
    "properties", [{}, server("latest"), server(None), server("1.9.0", "LavinMQ"), {"version": "3.8.0"}]
)
def test_a_broker_that_cannot_be_judged_passes_since_its_declarations_will_tell(
    properties: dict[str, Any],
) -> None:
    refuse_too_old(properties)


def test_a_broker_is_named_in_two_words() -> None:
    assert name_and_version(server("4.3.5")) == "RabbitMQ 4.3.5"
    assert name_and_version({}) == "unknown unknown"
