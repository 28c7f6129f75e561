"""Nothing private in what we say: canaries are planted in every kind of input, and no text of ours may hold one."""

import asyncio
import copy
import html
import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import quote

import orjson
import pytest
import sqlalchemy
from aiohttp import web
from aiohttp.test_utils import TestServer
from sqlalchemy.exc import DBAPIError, StatementError

from hub.cli.output.printing import complain
from hub.config.settings import FeedLimits, load
from hub.errors import ConfigError, HubError, InvalidMessage, StoreUnavailable
from hub.http.auth import ApiKeyAuthorizer, BasicAuthorizer
from hub.http.call import send_authorized
from hub.http.classify import API, WEBHOOK_ALL, raise_for_status, text_said, validation_said
from hub.http.session import HttpSession, Response, Sent
from hub.http.tokens import fetch_token
from hub.messaging.cloudevents import decode
from hub.messaging.dispatch import guarded
from hub.messaging.message import Message
from hub.models.events import EVENT_TYPES
from hub.models.input.quoting import digest
from hub.observability import excepthooks, redaction
from hub.observability.logging import LogEvent, log, set_up_logging, tap
from hub.partners.iqmetrix.feed import parse_page
from hub.partners.iqmetrix.translate import to_item
from hub.partners.retailops.translate import read_purchase_order
from hub.state.engine.error_translation import translate_errors
from tests.partners.iqmetrix.samples import ORDER_ID, a_page, an_entry, created, settings
from tests.partners.retailops.samples import a_po

SOON = timedelta(seconds=5)
NAME = "Wilhelmina Canary-O'Neil"
CANARY = "Quetzalcoatlus"
SECRET = "s3cr3t/+cän&ary"
PLACE = {"name": NAME, "street1": "914 Kanarienweg", "city": "Vogelheim", "phone": "(208) 555-0143"}


# --- what comes in: every leaf of every input in turn --------------------------------------------------------

BODIES: dict[str, dict[str, Any]] = {
    "order.created": {
        "order_id": ORDER_ID,
        "source": "iqmetrix",
        "source_account": "71204",
        "source_order_id": "7a0e",
        "source_event_id": "e",
        "created_at": "2024-05-14T16:02:09Z",
        "lines": [{"line_id": "1", "sku": "NF", "quantity": 1, "price_cents": 1}],
        "ship_to": PLACE,
        "customer": {"first_name": "W", "last_name": "C"},
    },
    "order.accepted": {"order_id": ORDER_ID},
    "order.shipped": {
        "order_id": ORDER_ID,
        "shipped_at": "2024-05-14T16:02:09Z",
        "packages": [
            {
                "package_id": "1",
                "carrier": "UPS",
                "tracking_number": "1Z",
                "weight_lb": 1.5,
                "shipping_cost_cents": 5,
                "items": [{"line_id": "1", "quantity": 1}],
            }
        ],
    },
    "order.cancelled": {"order_id": ORDER_ID, "reason": "r", "lines": [{"sku": "NF", "quantity": 1}]},
    "order.backordered": {"order_id": ORDER_ID, "message": "m", "estimated_ship_date": "2024-05-20"},
    "order.ship_date_estimated": {"order_id": ORDER_ID, "estimated_ship_date": "2024-05-20"},
    "order.failed": {"order_id": ORDER_ID, "status": "Error", "message": "m"},
    "inventory.counted": {"items": [{"sku": "NF", "quantity": 1}], "sources": ["iqmetrix"]},
    "unit.disposition_changed": {
        "from_disposition": "a",
        "to_disposition": "b",
        "timestamp": "2024-05-16T11:03:27Z",
        "optiturn_lp": "LP",
        "upc": "1",
        "from_condition": "N",
        "to_condition": "N",
    },
}
POISONS = (CANARY, f"\x00{CANARY}", [CANARY], {CANARY: CANARY}, f"{CANARY}: {NAME}" * 400)


def poisoned(document: Any) -> Iterator[Any]:
    """The document with each of its values replaced in turn by each poison."""
    for path in _paths(document):
        for poison in POISONS:
            changed = copy.deepcopy(document)
            place = changed
            for step in path[:-1]:
                place = place[step]
            place[path[-1]] = poison
            yield changed


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield from _paths(inner, (*path, step))


def said_by(work: Callable[[], object]) -> str:
    """What our own errors say; any other error is a crash, whose text nobody prints."""
    try:
        work()
    except HubError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_an_event_of_another_service_is_refused_without_its_values(name: str) -> None:
    envelope = {
        "specversion": "1.0",
        "id": "1",
        "type": name,
        "source": "/oms",
        "time": "2024-05-14T16:02:09Z",
    }
    structured = {**envelope, "data": BODIES.get(name) or BODIES["order.created"]}
    kinds = {"application/json": structured["data"], "application/cloudevents+json": structured}
    refused = 0

    for content_type, document in kinds.items():
        for changed in poisoned(document):
            message = Message(orjson.dumps(changed), content_type=content_type, routing_key=name)
            text = said_by(partial(decode, message))
            refused += bool(text)
            assert NAME not in text
            # A type or a version that looks like a word is named, for whoever misspelt it.
            assert CANARY not in text or text.startswith(("type: ", "specversion: ")), text

    assert refused > 10


@pytest.mark.parametrize("cut", range(1, 60, 6))
def test_a_body_that_is_no_json_is_refused_without_its_text(cut: int) -> None:
    body = orjson.dumps({"order_id": ORDER_ID, "note": NAME})[:cut] + CANARY.encode() + b'"\xff'

    text = said_by(
        lambda: decode(Message(body, content_type="application/json", routing_key="order.accepted"))
    )

    assert "expected JSON" in text
    assert CANARY not in text


def test_a_feed_entry_is_set_aside_without_its_values() -> None:
    whole = created()
    reasons = []
    for start in (position for position, letter in enumerate(whole) if letter == ">"):
        end = whole.find("<", start)
        if not whole[start + 1 : end].strip():
            continue
        for poison in (CANARY, "-1" + CANARY, f"{CANARY} {NAME}" * 50):
            text = whole[: start + 1] + html.escape(poison) + whole[end:]
            page = parse_page(a_page([an_entry("e1", text)]), FeedLimits())
            reasons += [to_item(entry, settings()).reason for entry in page.entries]
    broken = a_page([an_entry("e1", f"<order-created><{CANARY}>{NAME}</{CANARY}></order-created>")])
    reasons += [to_item(entry, settings()).reason for entry in parse_page(broken, FeedLimits()).entries]

    assert sum(map(bool, reasons)) >= 10
    assert not [reason for reason in reasons if CANARY in reason or NAME in reason]


def test_a_page_that_is_no_feed_is_refused_without_its_text() -> None:
    for body in (
        f"<x>{CANARY}",
        f"<feed>{CANARY}</x>",
        CANARY,
        f"<!DOCTYPE a [<!ENTITY b '{CANARY}'>]><a>&b;</a>",
    ):
        text = said_by(partial(parse_page, body.encode(), FeedLimits()))

        assert text
        assert CANARY not in text


def test_a_purchase_order_is_set_aside_without_its_values() -> None:
    record = a_po()
    texts = [said_by(partial(read_purchase_order, changed)) for changed in poisoned(record)]

    assert sum(map(bool, texts)) >= 5
    assert not [text for text in texts if CANARY in text or NAME in text]


# --- what partners answer ------------------------------------------------------------------------------------

SENT = orjson.dumps({"po": "D48213", "ship_to": PLACE, "items": [{"sku": "NF-CASE-GRA", "quantity": 2}]})
WORDS = (NAME, "Wilhelmina", "914 Kanarienweg", "Vogelheim", "(208) 555-0143", SECRET)
ECHOES: dict[str, Callable[[str], str]] = {
    "text": str,
    "HTML": lambda text: f"<html><body><h1>Error</h1><p>{html.escape(text)}</p></body></html>",
    "JSON": lambda text: json.dumps({"error": text}),
    "JSON in UTF-8": lambda text: orjson.dumps({"error": text}).decode(),
    "capitals": str.upper,
    "another's": lambda text: f"{text} jane@roe.example +1 208-555-0199",
    "long": lambda text: "x" * 150 + " " + text + " x" * 5000,
    "late": lambda text: "<p>" * 90 + "x " * 90 + text,
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES.keys())
@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429, 500, 503])
def test_what_a_partner_repeats_of_our_request_is_not_quoted(status: int, echo: Callable[[str], str]) -> None:
    said = echo(" | ".join(WORDS))
    response = Response(status, {}, said.encode(), sent=Sent({"apikey": SECRET}, SENT))

    text = said_by(lambda: raise_for_status(response, partner="p", operation="o", policy=API, read=text_said))

    found = [word for word in (*WORDS, "jane@roe", "555-0199") if word.lower() in html.unescape(text).lower()]
    assert f"p answered {status}" in text
    assert not found, text


@pytest.mark.parametrize("known", ["example", "jane.roe"])
def test_a_mail_address_is_masked_although_a_part_of_it_is_a_known_secret(known: str) -> None:
    redaction.remember(known)

    assert redaction.quotable("ask jane.roe@example.com at once", ()) == "ask *** at once"


def test_a_receiver_is_quoted_by_field_and_code_alone() -> None:
    errors = [
        {"field": "ship_to.name", "code": "invalid", "value": NAME},
        {"field": "Vogelheim", "code": NAME},
    ]
    body = orjson.dumps({"message": NAME, "errors": errors})
    response = Response(422, {}, body, sent=Sent({}, SENT))

    text = said_by(
        lambda: raise_for_status(
            response,
            partner="acme",
            operation="o",
            policy=WEBHOOK_ALL,
            read=validation_said(("ship_to", "name")),
        )
    )

    assert text == "acme answered 422 to o: ship_to.name: invalid, an unknown field: " + digest(NAME)


async def test_credentials_that_come_back_over_a_real_connection_are_not_quoted() -> None:
    async def echo(request: web.Request) -> web.Response:
        return web.Response(status=400, text=f"bad: {dict(request.headers)} {await request.text()}")

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", echo)
    server = TestServer(application)
    await server.start_server()
    session, texts = HttpSession("p", timeout=SOON), []
    for authorizer in (BasicAuthorizer("ops", SECRET), ApiKeyAuthorizer("X-Key", quote(SECRET))):
        response = await send_authorized(
            session,
            authorizer,
            "POST",
            str(server.make_url("/a")),
            headers={"Content-Type": "application/json"},
            body=SENT,
            read_at_most=10_000,
        )
        sent = await authorizer.headers()
        text = text_said(response).quoted
        texts += [
            part for value in sent.values() for part in value.split() if part != "Basic" and part in text
        ]
        texts += [word for word in WORDS if word in text]
    with pytest.raises(HubError) as refused:
        await fetch_token(
            session,
            str(server.make_url("/token")),
            {"client_secret": SECRET, "username": NAME},
            partner="p",
        )
    await session.close()
    await server.close()

    assert texts == []
    assert SECRET not in str(refused.value)
    assert NAME not in str(refused.value)


# --- settings ------------------------------------------------------------------------------------------------

SETTINGS = """
[broker]
url = "amqp://hub:{secret}@localhost:5672/"
[state]
url = "postgresql+asyncpg://hub:{secret}@db/hub"
[[iqmetrix]]
base_url = "https://a.example/v1"
token_url = "https://a.example/token"
supplier_id = 1
username = "ops"
password = "{secret}"
client_id = "id"
client_secret = "{secret}"
[[retailops]]
api_key = "{secret}"
vendor_id = "27"
[[webhooks]]
name = "acme"
confirmation_url = "https://acme.example/h?key={secret}"
signing_secret = "whsec_{secret}"
auth = {{ type = "oauth2", token_url = "https://a.example/t", client_id = "i", client_secret = "{secret}" }}
[[webhooks]]
name = "north"
auth = {{ type = "basic", username = "u", password = "{secret}" }}
"""
PLAIN = "Quetzalcoatlus1234"


def test_no_fault_of_the_settings_quotes_a_secret(tmp_path: Any) -> None:
    file, lines = tmp_path / "hub.toml", SETTINGS.format(secret=PLAIN).splitlines()
    told = 0
    for number, line in enumerate(lines):
        for changed in (
            line.replace(f'"{PLAIN}"', f'["{PLAIN}"]'),
            line.replace("://", ":/"),
            line.replace("://hub:", f"://hub:{PLAIN}@:"),
            line.replace("_secret =", "_secrte ="),
            line.replace("whsec_", "whsec-"),
            line.replace(' = "', ' "'),
            line.replace('"oauth2"', '"oauth3"'),
            line.replace("https://a", f"http://{PLAIN}:{PLAIN}@a"),
        ):
            file.write_text("\n".join([*lines[:number], changed, *lines[number + 1 :]]))
            said = io.StringIO()
            with redirect_stderr(said):
                try:
                    load(file, {})
                except ConfigError as error:
                    told += 1
                    complain(error)
            assert PLAIN not in said.getvalue(), said.getvalue()

    assert told >= 20


def test_every_secret_that_was_read_is_replaced_in_any_text(tmp_path: Any) -> None:
    file = tmp_path / "hub.toml"
    file.write_text(SETTINGS.format(secret=PLAIN))
    load(file, {})

    for text in (PLAIN, f"amqp://hub:{PLAIN}@x", f"Bearer {PLAIN}", f"?key={PLAIN}&b"):
        assert PLAIN not in redaction.scrubbed(text)


@pytest.mark.parametrize("spell", [str, html.escape, quote, lambda text: json.dumps(text)[1:-1]])
def test_a_known_secret_is_replaced_in_every_spelling(spell: Callable[[str], str]) -> None:
    redaction.remember(SECRET)

    assert redaction.scrubbed(f"see {spell(SECRET)}.") == "see ***."


def test_a_token_that_was_replaced_is_no_secret_any_more() -> None:
    redaction.remember("token-of-yesterday", "token-of-today")
    redaction.forget("token-of-yesterday")

    assert redaction.scrubbed("token-of-yesterday token-of-today") == "token-of-yesterday ***"


# --- faults and crashes --------------------------------------------------------------------------------------


@pytest.fixture(params=["json", "console"])
def lines(request: pytest.FixtureRequest) -> Iterator[Callable[[], str]]:
    """What is written to standard error from now on, in either form."""
    written, heard = io.StringIO(), []
    before = sys.stderr
    sys.stderr = written
    set_up_logging(request.param, "info")
    end = tap(lambda facts: heard.append(dict(facts)))
    yield lambda: written.getvalue() + repr(heard)
    end()
    sys.stderr = before
    logging.captureWarnings(False)
    set_up_logging("auto", "info")


async def test_a_handler_that_crashes_is_told_by_class_and_place(lines: Callable[[], str]) -> None:
    async def crash() -> None:
        raise KeyError(CANARY, {"name": NAME})

    with pytest.raises(HubError) as told:
        await guarded(crash(), "try_things")

    assert "KeyError" in lines()
    assert "test_privacy.py" in lines()
    assert CANARY not in lines() + str(told.value)


async def test_what_no_task_waits_for_is_told_by_class_and_place(lines: Callable[[], str]) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(excepthooks.in_loop)

    def crash() -> None:
        raise RuntimeError(CANARY)

    loop.call_soon(crash)
    await asyncio.sleep(0)

    assert "uncaught" in lines()
    assert "RuntimeError" in lines()
    assert CANARY not in lines()


def test_what_ends_the_process_is_one_line_without_values(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise ExceptionGroup("several", [ValueError(CANARY)])
    except ExceptionGroup as group:
        excepthooks._ends_the_process(type(group), group, group.__traceback__)

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("hub: unexpected ValueError at ")
    assert "HUB_DEBUG=1" in line
    assert CANARY not in line


def test_what_libraries_log_has_our_form_and_no_values(lines: Callable[[], str]) -> None:
    try:
        raise ValueError(CANARY)
    except ValueError:
        logging.getLogger("aiohttp.server").exception("cannot handle %s", NAME)

    assert "library_said" in lines()
    assert "cannot handle %s" in lines()
    assert "ValueError" in lines()
    assert CANARY not in lines()
    assert NAME not in lines()


def test_private_keys_and_known_secrets_are_masked_wherever_they_stand_in_a_line(
    lines: Callable[[], str],
) -> None:
    redaction.remember(PLAIN)

    log.error(
        LogEvent.WAITING_FOR,
        what=f"x{PLAIN}y",
        facts={"ship_to": NAME, "inner": [{"password": NAME}, f"amqp://u:{PLAIN}@h"]},
        phone=NAME,
        exc_info=ValueError(NAME),
    )

    assert "waiting_for" in lines()
    assert "ValueError" in lines()
    assert PLAIN not in lines()
    assert NAME not in lines()


HOSTILE = "\x1b[31m\x9b2J\u2028\u202e\u2066[bold]\r\n"


def test_no_line_holds_a_control_character_or_changes_its_direction(lines: Callable[[], str]) -> None:
    log.error(LogEvent.WAITING_FOR, what=f"x{HOSTILE}y", inner=[{"a": HOSTILE}], message_id=f"a1{HOSTILE}")

    assert [character for character in lines() if not character.isprintable() and character != "\n"] == []
    assert lines().count("\n") <= 1
    assert not any(escaped in lines() for escaped in ("u001b", "u202e", "u2028", "x1b"))
    assert "y" in lines()


@pytest.mark.parametrize("key", ["message_id", "event_id", "order_id", "type"])
def test_an_id_of_unknown_form_is_a_digest_in_every_line(lines: Callable[[], str], key: str) -> None:
    log.error(LogEvent.WAITING_FOR, **{key: NAME})

    assert digest(NAME) in lines()


@pytest.mark.parametrize(
    "error",
    [
        DBAPIError.instance(
            "INSERT INTO orders VALUES (:a)", {"a": CANARY}, sqlalchemy.exc.SQLAlchemyError("no"), Exception
        ),
        StatementError(f"bad value {CANARY}", "INSERT", {"a": CANARY}, ValueError(CANARY)),
        sqlalchemy.exc.IntegrityError(
            "INSERT", {"a": CANARY}, Exception(f"duplicate key\nDETAIL: Key (name)=({CANARY}) exists")
        ),
        sqlalchemy.exc.DataError("INSERT", {"a": CANARY}, Exception(f'invalid input syntax: "{CANARY}"')),
        sqlalchemy.exc.ProgrammingError("INSERT", {"a": CANARY}, Exception(f'<class "X">: bad "{CANARY}"')),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_fault_of_the_database_is_told_without_parameters(error: Exception) -> None:
    with pytest.raises((StoreUnavailable, InvalidMessage)) as told, translate_errors("db", SOON):
        raise error

    assert CANARY not in str(told.value)


# --- reasons -------------------------------------------------------------------------------------------------


def test_a_reason_says_nothing_that_the_message_says_of_persons() -> None:
    body = orjson.dumps({"order_id": ORDER_ID, "ship_to": PLACE, "sku": "NF-CASE-GRA"})

    said = redaction.reason(f"{NAME} of Vogelheim: ship_to.city of NF-CASE-GRA is wrong for Wilhelmina", body)

    assert said == "*** of ***: ship_to.city of NF-CASE-GRA is wrong for ***"


def test_a_reason_keeps_the_words_that_it_shares_with_a_note() -> None:
    body = orjson.dumps(
        {
            "street1": "12 Field Order Street",
            "notes": "please leave the order at the door, ring twice, thanks a lot",
        }
    )

    said = redaction.reason("data.street1: expected an order of this field, leave it", body)

    assert said == "data.street1: expected an order of this field, leave it"
