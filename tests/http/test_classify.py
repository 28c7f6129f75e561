"""What a status means, for APIs, token endpoints and both readings of webhook receivers."""

from datetime import UTC, datetime, timedelta

import orjson
import pytest

from hub.errors import (
    HubError,
    PartnerRejected,
    PartnerUnavailable,
    PartnerUnreachable,
    Throttled,
    Unauthorized,
)
from hub.http.classify import (
    API,
    EXCERPT_LENGTH,
    LONGEST_WAIT,
    TOKEN,
    WEBHOOK_ALL,
    WEBHOOK_SERVER,
    Policy,
    raise_for_status,
    retry_after,
    text_said,
    validation_said,
)
from hub.http.session import Response

NOW = datetime(2024, 5, 14, 16, 3, 23, tzinfo=UTC)

TABLE: tuple[tuple[int, type[HubError], type[HubError], type[HubError], type[HubError]], ...] = (
    # status, API, token endpoint, webhook "all", webhook "server"
    (302, PartnerRejected, PartnerUnavailable, PartnerUnavailable, PartnerRejected),
    (400, PartnerRejected, PartnerUnavailable, PartnerUnavailable, PartnerRejected),
    (401, Unauthorized, PartnerUnavailable, Unauthorized, PartnerRejected),
    (403, PartnerRejected, PartnerUnavailable, PartnerUnavailable, PartnerRejected),
    (404, PartnerRejected, PartnerUnavailable, PartnerUnavailable, PartnerRejected),
    (408, Throttled, Throttled, Throttled, Throttled),
    (422, PartnerRejected, PartnerUnavailable, PartnerUnavailable, PartnerRejected),
    (425, Throttled, Throttled, Throttled, Throttled),
    (429, Throttled, Throttled, Throttled, Throttled),
    (500, PartnerUnavailable, PartnerUnavailable, PartnerUnavailable, PartnerUnavailable),
    (502, PartnerUnreachable, PartnerUnreachable, PartnerUnreachable, PartnerUnreachable),
    (503, PartnerUnreachable, PartnerUnreachable, PartnerUnreachable, PartnerUnreachable),
    (504, PartnerUnreachable, PartnerUnreachable, PartnerUnreachable, PartnerUnreachable),
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
    assert isinstance(caught.value, PartnerUnreachable)


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
        ({"Retry-After": "1e9"}, None),
        ({"Retry-After": "9" * 5000}, None),
        ({"Retry-After": "Mon, 01 Jan 0001 00:00:00 +2359"}, 0),
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 -2359"}, LONGEST_WAIT.total_seconds()),
        ({"Retry-After": "Tue, 14 May 2024 16:04:23 +99999999999999"}, None),
        ({"Retry-After": "Tue, 99 May 99999999999999999 16:04:23 GMT"}, None),
        ({"Retry-After": ","}, None),
        ({"Retry-After": "\udce9\x00", "X-RateLimit-ResetSeconds": "37"}, 37),
        ({"X-RateLimit-Reset": "0001-01-01T00:00:00+23:59"}, 0),
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


def test_the_text_of_an_answer_is_kept_short_and_in_one_line_and_not_quoted() -> None:
    said = text_said(Response(400, {}, b"The request\x1b[31m is\r\n <b>invalid</b> " + b"x" * 5000 + b"\xff"))

    assert said.text.startswith("The request [31m is invalid xxx")
    assert len(said.text) == EXCERPT_LENGTH
    assert said.quoted == f"with a text of {EXCERPT_LENGTH} characters"


def test_an_error_carries_who_answered_what_to_which_call() -> None:
    with pytest.raises(PartnerRejected) as caught:
        raise_for_status(
            Response(404, {}, b"no order of Dana"), partner="acme", operation="a post", read=text_said
        )

    facts = caught.value.facts
    assert (facts.partner, facts.operation, facts.status, facts.code) == (
        "acme",
        "a post",
        404,
        "",
    )
    assert facts.answer == "no order of Dana"
    assert "Dana" not in f"{caught.value} {facts!r}"


FIELDS = ("shipment", "tracking_number", "shipment_items", "sku")


@pytest.mark.parametrize(
    ("field", "code", "quoted"),
    [
        ("shipment.tracking_number", "missing_field", "shipment.tracking_number: missing_field"),
        ("$.shipment.shipmentItems[0].sku", "E1042", "shipment.shipment_items.0.sku: E1042"),
        ("Dana Whitfield, Boise", 7, "an unknown field: no code"),
        ("Quackenbush", "invalid", "an unknown field: invalid"),
        ("sku", "Quackenbush", "sku: sha256:"),
    ],
)
def test_of_a_validation_failure_only_known_fields_and_codes_are_quoted(
    field: object, code: object, quoted: str
) -> None:
    body = orjson.dumps({"message": "Dana is wrong", "errors": [{"field": field, "code": code}]})

    said = validation_said(FIELDS)(Response(422, {}, body))

    assert said.quoted.startswith(quoted)
    assert "Quackenbush" not in said.quoted
    assert validation_said(FIELDS)(Response(400, {}, body)).quoted == ""


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"errors": 7}', b'{"errors": [7]}'])
def test_other_validation_answers_quote_nothing(body: bytes) -> None:
    assert validation_said(FIELDS)(Response(422, {}, body)).quoted == ""
