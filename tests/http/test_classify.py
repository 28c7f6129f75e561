"""What a status means, for APIs, token endpoints and both readings of webhook receivers."""

from datetime import UTC, datetime, timedelta

import pytest

from hub.errors import HubError, PartnerAway, PartnerRejected, PartnerUnavailable, Throttled, Unauthorized
from hub.http.classify import (
    API,
    LONGEST_WAIT,
    TOKEN,
    WEBHOOK_ALL,
    WEBHOOK_SERVER,
    Policy,
    raise_for_status,
    retry_after,
    text_excerpt,
    validation_excerpt,
)
from hub.http.session import Response

NOW = datetime(2024, 5, 14, 16, 3, 23, tzinfo=UTC)

TABLE: tuple[tuple[int, type[HubError], type[HubError], type[HubError], type[HubError]], ...] = (
    # status, API, token endpoint, webhook "all", webhook "server"
    (302, PartnerRejected, Unauthorized, PartnerUnavailable, PartnerRejected),
    (400, PartnerRejected, Unauthorized, PartnerUnavailable, PartnerRejected),
    (401, Unauthorized, Unauthorized, Unauthorized, PartnerRejected),
    (403, PartnerRejected, Unauthorized, PartnerUnavailable, PartnerRejected),
    (404, PartnerRejected, Unauthorized, PartnerUnavailable, PartnerRejected),
    (408, Throttled, Throttled, Throttled, Throttled),
    (422, PartnerRejected, Unauthorized, PartnerUnavailable, PartnerRejected),
    (425, Throttled, Throttled, Throttled, Throttled),
    (429, Throttled, Throttled, Throttled, Throttled),
    (500, PartnerUnavailable, PartnerUnavailable, PartnerUnavailable, PartnerUnavailable),
    (502, PartnerAway, PartnerAway, PartnerAway, PartnerAway),
    (503, PartnerAway, PartnerAway, PartnerAway, PartnerAway),
    (504, PartnerAway, PartnerAway, PartnerAway, PartnerAway),
)


@pytest.mark.parametrize(
    ("status", "policy", "error"),
    [
        (row[0], policy, row[column])
        for row in TABLE
        for column, policy in ((1, API), (2, TOKEN), (3, WEBHOOK_ALL), (4, WEBHOOK_SERVER))
    ],
)
def test_each_status_has_its_remedy(status: int, policy: Policy, error: type[HubError]) -> None:
    with pytest.raises(HubError) as caught:
        raise_for_status(Response(status, {}, b"secret"), partner="acme", operation="a post", policy=policy)

    assert type(caught.value) is error
    assert str(status) in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("policy", [API, TOKEN, WEBHOOK_ALL, WEBHOOK_SERVER])
@pytest.mark.parametrize("status", [200, 202, 204])
def test_any_2xx_is_a_success(status: int, policy: Policy) -> None:
    """Edge case 16: 200 and 202 are both accepted, and the body may be empty."""
    raise_for_status(Response(status, {}, b""), partner="acme", operation="a post", policy=policy)


def test_a_refusal_carries_its_status() -> None:
    with pytest.raises(PartnerRejected) as caught:
        raise_for_status(Response(404, {}, b""), partner="acme", operation="a post")

    assert caught.value.status == 404


def test_503_with_retry_after_asks_for_patience() -> None:
    with pytest.raises(Throttled) as caught:
        raise_for_status(Response(503, {"Retry-After": "7"}, b""), partner="acme", operation="a post")

    assert caught.value.retry_after == timedelta(seconds=7)
    assert isinstance(caught.value, PartnerAway)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"X-RateLimit-ResetSeconds": "37"}, 37),
        ({"Retry-After": "5", "X-RateLimit-ResetSeconds": "37"}, 5),
        ({"retry-after": "Tue, 14 May 2024 16:04:23 GMT"}, 60),
        ({"X-RateLimit-Reset": "2024-05-14T16:04:00.0000000Z"}, 37),
        ({"Retry-After": "Tue, 14 May 2024 15:00:00 GMT"}, 0),
        ({"Retry-After": "999999999"}, LONGEST_WAIT.total_seconds()),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"X-RateLimit-Reset": "soon"}, None),
        ({}, None),
    ],
)
def test_hints_when_to_come_back(headers: dict[str, str], wait: float | None) -> None:
    """Edge case 12: 429 with X-RateLimit-ResetSeconds, with Retry-After, and with neither."""
    with pytest.raises(Throttled) as caught:
        raise_for_status(Response(429, headers, b""), partner="acme", operation="a post", now=NOW)

    assert caught.value.retry_after == (None if wait is None else timedelta(seconds=wait))
    assert retry_after(Response(429, headers, b"").headers, NOW) == caught.value.retry_after


def test_a_quoted_answer_is_short_and_without_control_characters() -> None:
    quoted = text_excerpt(Response(400, {}, b"The request\x1b[31m is\r\n invalid " + b"x" * 500 + b"\xff"))

    assert quoted.startswith("The request [31m is invalid xxx")
    assert len(quoted) == 200


def test_of_a_validation_failure_only_paths_and_codes_are_quoted() -> None:
    body = (
        b'{"message": "Dana is wrong", "errors": [{"field": "shipment.tracking_number", "code": "missing_field",'
        b' "value": "Dana"}, {"field": "Dana Whitfield, Boise", "code": 7}]}'
    )

    assert validation_excerpt(Response(422, {}, body)) == "shipment.tracking_number: missing_field, ?: ?"
    assert validation_excerpt(Response(400, {}, body)) == ""


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"errors": 7}', b'{"errors": [7]}'])
def test_other_validation_answers_quote_nothing(body: bytes) -> None:
    assert validation_excerpt(Response(422, {}, body)) == ""
