"""The calls to RetailOps at the client's edge: paths, bodies, the key, and what each answer means."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from hub.config.settings import Settings
from hub.errors import (
    HubError,
    PartnerContractBroken,
    PartnerUnavailable,
    PartnerUnreachable,
    PermanentError,
    Throttled,
    TransientError,
    Unauthorized,
)
from hub.http.session import HttpSession, Response
from hub.partners.retailops.answers import Refused
from hub.partners.retailops.client import RetailopsClient, Turns, UnknownCarrierClass, client_of
from hub.partners.retailops.wire import (
    Complete,
    ExternalSku,
    Package,
    PackageItem,
    PurchaseOrderDate,
    PurchaseOrderItem,
    PurchaseOrderMark,
)
from hub.process.lifecycle import Resources
from hub.sandbox import Fault, Faults, RetailopsSandbox
from tests.fakes import MemoryStore
from tests.partners.retailops.samples import BASE, KEY, a_po, settings
from tests.raw_server import raw_server
from tests.responses import Responses

FETCH = f"{BASE}/Vendor/PO/Fetch.json"
SUBMITTED = f"{BASE}/Vendor/PO/MarkSubmitted.json"
ACCEPTED = f"{BASE}/Vendor/PO/MarkAccepted.json"
COMPLETE = f"{BASE}/Vendor/PO/Complete.json"
DATES = f"{BASE}/Vendor/PO/UpdateEstShipDate.json"
CLASSES = f"{BASE}/Constant/Ship/CarrierClass/fetch.json"
SKUS = f"{BASE}/product/externalsku/update~2.json"
ITEMS = (PurchaseOrderItem(po_item_id="90311", quantity=2), PurchaseOrderItem(po_item_id="L-7", quantity=1))
MARK = PurchaseOrderMark(po="D48213", items=ITEMS)
DATE = PurchaseOrderDate(
    po="D48213", estimated_ship_date=datetime(2024, 5, 20, 0, 0, 0, 123, tzinfo=UTC), items=ITEMS[:1]
)
DONE = Complete(
    po="D48213",
    packages=(
        Package(
            ship_class_id=62,
            tracking_number="1940011",
            unit_count=2,
            items=(PackageItem(vpc="NF-CASE-GRA", quantity=2),),
        ),
    ),
)
SKU = ExternalSku(vendor_id="27", vpc="NF-CASE-GRA", quantity=118)
UPS, FEDEX = {"id": "62", "name": "UPS Ground"}, {"id": 8, "name": "FedEx Home Delivery"}


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2024, 5, 14, 16, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def retailops() -> Iterator[Responses]:
    with Responses() as retailops:
        yield retailops


@pytest.fixture
async def client(clock: Clock) -> AsyncIterator[RetailopsClient]:
    client = RetailopsClient(settings(), now=clock)
    yield client
    await client.close()


def bodies(retailops: Responses, url: str) -> list[Any]:
    return [orjson.loads(call["data"]) for call in retailops.sent("POST", url)]


# --- requests ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "url", "body"),
    [
        (
            lambda client: client.fetch(200, 100),
            FETCH,
            {"vendor_id": "27", "start": 200, "limit": 100, "status": "ready", "with_items": True},
        ),
        (
            lambda client: client.mark_submitted([MARK]),
            SUBMITTED,
            {
                "records": [
                    {
                        "po": "D48213",
                        "items": [{"po_item_id": 90311, "quantity": 2}, {"po_item_id": "L-7", "quantity": 1}],
                    }
                ]
            },
        ),
        (
            lambda client: client.mark_accepted([MARK]),
            ACCEPTED,
            {
                "records": [
                    {
                        "po": "D48213",
                        "items": [{"po_item_id": 90311, "quantity": 2}, {"po_item_id": "L-7", "quantity": 1}],
                    }
                ]
            },
        ),
        (
            lambda client: client.update_ship_dates([DATE]),
            DATES,
            {
                "records": [
                    {
                        "po": "D48213",
                        "estimated_ship_date": "2024-05-20T00:00:00Z",
                        "items": [{"po_item_id": 90311, "quantity": 2}],
                    }
                ]
            },
        ),
        (
            lambda client: client.complete(DONE),
            COMPLETE,
            {
                "po": "D48213",
                "packages": [
                    {
                        "ship_class_id": 62,
                        "tracking_number": "1940011",
                        "unit_count": 2,
                        "items": [{"vpc": "NF-CASE-GRA", "quantity": 2}],
                    }
                ],
            },
        ),
        (lambda client: client.carrier_classes(), CLASSES, {"all": 1}),
        (
            lambda client: client.advise_inventory([SKU]),
            SKUS,
            {"records": [{"vendor_id": "27", "vpc": "NF-CASE-GRA", "quantity": 118}]},
        ),
    ],
)
async def test_each_call_has_the_path_and_the_body_of_the_guide(
    client: RetailopsClient,
    retailops: Responses,
    call: Callable[[RetailopsClient], Awaitable[object]],
    url: str,
    body: object,
) -> None:
    retailops.post(url, payload={"success": 1, "records": []})

    await call(client)

    assert bodies(retailops, url) == [body]
    (sent,) = retailops.sent("POST", url)
    assert sent["headers"]["apikey"] == KEY
    assert sent["headers"]["Content-Type"] == "application/json"
    assert sent["allow_redirects"] is False


async def test_the_version_suffix_stands_before_json_and_the_inventory_has_its_own(
    clock: Clock, retailops: Responses
) -> None:
    client = RetailopsClient(settings(version_suffix="~1", fetch_status=("open", "ready")), now=clock)
    url = f"{BASE}/Vendor/PO/Fetch~1.json"
    retailops.post(url, payload={"success": 1, "records": []})
    retailops.post(SKUS, payload={"success": 1})

    await client.fetch(0, 100)
    await client.advise_inventory([SKU])
    await client.close()

    assert bodies(retailops, url)[0]["status"] == ["open", "ready"]
    assert len(retailops.sent("POST", SKUS)) == 1


@pytest.mark.parametrize("count", [0, 1001])
async def test_a_call_takes_one_to_a_thousand_records(client: RetailopsClient, count: int) -> None:
    for call in (
        client.mark_submitted([MARK] * count),
        client.mark_accepted([MARK] * count),
        client.update_ship_dates([DATE] * count),
        client.advise_inventory([SKU] * count),
    ):
        with pytest.raises(ValueError, match="expected 1 to 1000 records"):
            await call


class OneByOne(HttpSession):
    """Answers when it is told to, and counts requests at once."""

    def __init__(self) -> None:
        super().__init__("retailops", timeout=timedelta(seconds=5))
        self.running = self.most = self.asked = 0
        self.go = asyncio.Event()

    async def request(self, method: str, url: str, **options: Any) -> Response:
        self.running += 1
        self.asked += 1
        self.most = max(self.most, self.running)
        await self.go.wait()
        self.running -= 1
        return Response(200, {}, b'{"success": 1, "records": []}')


async def test_one_request_is_in_flight_for_a_key_also_with_several_accounts() -> None:
    session, turns = OneByOne(), Turns()
    clients = [RetailopsClient(settings(vendor_id=str(n)), session, turns=turns) for n in range(3)]

    calls: list[asyncio.Task[Any]] = [
        asyncio.create_task(client.mark_submitted([MARK])) for client in clients
    ]
    calls.extend(asyncio.create_task(client.fetch(0, 1)) for client in clients)
    session.go.set()
    await asyncio.gather(*calls)

    assert (session.asked, session.most) == (6, 1)


async def test_the_accounts_of_a_process_that_share_a_key_take_turns_at_the_partner() -> None:
    slow = Faults(rate=1.0, kinds=(Fault.slow,), slow_for=timedelta(milliseconds=30))
    async with RetailopsSandbox(api_key=KEY, faults=slow) as partner:
        resources = Resources(Settings(), MemoryStore(), "a process")
        accounts = [settings(base_url=partner.base_url, vendor_id=str(number)) for number in range(4)]
        clients = [client_of(resources, account) for account in accounts]
        again = client_of(resources, accounts[0])

        await asyncio.gather(*(client.carrier_classes() for client in clients))
        await resources.close()

    assert again is clients[0]
    assert len(partner.calls) == 4
    assert partner.violations == []


# --- answers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        {"success": 1},
        {"success": "1"},
        {"success": True},
        {},
        {"ERROR": ""},
        {"ERROR": None, "ERRORCODE": None},
        {"success": 1, "ERRORCODE": "null"},
    ],
)
async def test_an_answer_without_a_sign_of_failure_is_a_success(
    client: RetailopsClient, retailops: Responses, answer: object
) -> None:
    """Edge case 24: success as 1, "1" and true; ERRORCODE "null"."""
    retailops.post(SUBMITTED, payload=answer)

    await client.mark_submitted([MARK])


@pytest.mark.parametrize("status", [200, 400, 404, 500])
@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"ERROR": "invalid po", "ERRORCODE": "1042"}, r"an error text of 10 characters \(code 1042\)"),
        ({"ERROR": "invalid po", "success": 1}, "an error text of 10 characters"),
        ({"ERRORCODE": 7}, r"no error text \(code 7\)"),
        ({"success": 0}, "no error text, not a success"),
        ({"success": "0"}, "no error text, not a success"),
        ({"success": None}, "no error text, not a success"),
        ({"ERROR": {"text": "x"}}, "an error text of 24 characters"),
    ],
)
async def test_a_sign_of_failure_in_the_body_is_a_refusal_whatever_the_status(
    client: RetailopsClient, retailops: Responses, status: int, answer: object, told: str
) -> None:
    """Edge case 24: HTTP 200 with ERROR; success as 0."""
    retailops.post(SUBMITTED, status=status, payload=answer)

    with pytest.raises(Refused, match=f"answered {status} to Vendor/PO/MarkSubmitted: {told}") as refused:
        await client.mark_submitted([MARK])

    assert isinstance(refused.value, TransientError)


async def test_a_refusal_carries_text_and_code_cut_and_in_one_line(
    client: RetailopsClient, retailops: Responses
) -> None:
    retailops.post(COMPLETE, payload={"ERROR": "bad\r\n\x1b[31m " + "x" * 500, "ERRORCODE": "1042"})

    with pytest.raises(Refused) as refused:
        await client.complete(DONE)

    assert refused.value.facts.answer == "bad [31m " + "x" * 500
    assert refused.value.facts.code == "1042"
    assert "bad" not in str(refused.value)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    ("body", "got"),
    [
        ("<html><body>Dana Whitfield: maintenance</body></html>", "HTML or XML"),
        ("", "an empty body"),
        ("[]", "a JSON value of another kind"),
        ("Dana", "text that is not JSON"),
        ('{"success": 1', "text that is not JSON"),
    ],
)
async def test_an_answer_that_is_no_json_object_is_no_success(
    client: RetailopsClient, retailops: Responses, body: str, got: str
) -> None:
    """Edge case 24: HTML body."""
    retailops.post(SUBMITTED, body=body)

    with pytest.raises(
        PartnerUnavailable, match=f"expected a JSON object .* got 200 with {got}"
    ) as unavailable:
        await client.mark_submitted([MARK])

    assert not isinstance(unavailable.value, Refused)
    assert "Dana" not in str(unavailable.value)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (302, PartnerUnavailable),
        (401, Unauthorized),
        (403, Unauthorized),
        (404, PartnerUnavailable),
        (408, Throttled),
        (429, Throttled),
        (500, PartnerUnavailable),
        (502, PartnerUnreachable),
        (503, PartnerUnreachable),
    ],
)
async def test_a_status_without_an_envelope_may_pass_and_is_no_refusal(
    client: RetailopsClient, retailops: Responses, status: int, error: type[HubError]
) -> None:
    retailops.post(FETCH, status=status, body="<html>secret</html>")

    with pytest.raises(error, match=f"answered {status}") as raised:
        await client.fetch(0, 100)

    assert type(raised.value) is error
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_status_about_what_was_sent_is_a_refusal_also_without_an_envelope(
    client: RetailopsClient, retailops: Responses, status: int
) -> None:
    retailops.post(SUBMITTED, status=status, body="<html/>")

    with pytest.raises(Refused, match="no reason that can be read"):
        await client.mark_submitted([MARK, MARK])


async def test_a_hint_when_to_come_back_is_kept_also_with_an_error_text(
    client: RetailopsClient, retailops: Responses
) -> None:
    retailops.post(SUBMITTED, status=429, payload={"ERROR": "slow down"}, headers={"Retry-After": "7"})

    with pytest.raises(Throttled, match="an error text of 9 characters") as throttled:
        await client.mark_submitted([MARK])

    assert throttled.value.retry_after == timedelta(seconds=7)


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("text", ["PO D48213 Already Submitted", "cannot: status: COMPLETE"])
async def test_an_error_that_says_it_was_done_already_is_a_success_for_one_po(
    client: RetailopsClient, retailops: Responses, status: int, text: str
) -> None:
    for url in (SUBMITTED, ACCEPTED, DATES, COMPLETE):
        retailops.post(url, status=status, payload={"ERROR": text, "ERRORCODE": "9", "success": 0})

    await client.mark_submitted([MARK])
    await client.mark_accepted([MARK])
    await client.update_ship_dates([DATE])
    await client.complete(DONE)


async def test_done_already_is_no_success_for_several_pos_since_the_others_may_not_be(
    client: RetailopsClient, retailops: Responses
) -> None:
    retailops.post(SUBMITTED, payload={"ERROR": "already submitted"})

    with pytest.raises(Refused) as refused:
        await client.mark_submitted([MARK, MARK])

    assert refused.value.already_done


async def test_done_already_is_no_success_where_nothing_is_done_once(
    client: RetailopsClient, retailops: Responses
) -> None:
    retailops.post(SKUS, payload={"ERROR": "already submitted"})
    retailops.post(FETCH, payload={"ERROR": "already submitted"})

    with pytest.raises(Refused):
        await client.advise_inventory([SKU])
    with pytest.raises(Refused):
        await client.fetch(0, 100)


async def test_the_key_is_in_no_error_and_in_no_log(client: RetailopsClient, retailops: Responses) -> None:
    texts: list[str] = [repr(client.settings)]
    with capture_logs() as logs:
        for options in (
            {"status": 401},
            {"status": 500, "body": KEY},
            {"body": KEY},
            {"exception": TimeoutError(KEY)},
        ):
            retailops.post(FETCH, **options)
            with pytest.raises(HubError) as raised:
                await client.fetch(0, 100)
            texts.append(f"{raised.value!r} {raised.value.__cause__!r}")

    assert KEY not in " ".join([*texts, str(logs), FETCH])


# --- reads ---------------------------------------------------------------------------------------------------


async def test_a_page_gives_its_records_as_they_came(client: RetailopsClient, retailops: Responses) -> None:
    records = [a_po(extra={"unknown": 1}), "no object", None]
    retailops.post(FETCH, payload={"success": 1, "records": records})

    fetched = await client.fetch(0, 100)

    assert fetched.records == tuple(records)
    assert fetched.count == 3


@pytest.mark.parametrize(
    "answer", [{"success": 1}, {}, {"success": 1, "records": None}, {"success": 1, "records": {"D1": {}}}]
)
async def test_an_answer_without_a_list_of_records_is_not_taken_for_none(
    client: RetailopsClient, retailops: Responses, answer: object
) -> None:
    retailops.post(FETCH, payload=answer)
    retailops.post(CLASSES, payload=answer)

    for call in (client.fetch(0, 100), client.carrier_classes()):
        with pytest.raises(PartnerContractBroken, match="expected records as a list"):
            await call


@pytest.mark.parametrize(
    "body",
    [
        b'\xef\xbb\xbf{"success":1}',
        '\ufeff{"success":1}'.encode("utf-16-le"),
        '{"success":1}'.encode("utf-16-be"),
    ],
    ids=["utf-8 with a mark", "utf-16 with a mark", "utf-16"],
)
async def test_an_answer_may_come_behind_a_byte_order_mark(
    client: RetailopsClient, retailops: Responses, body: bytes
) -> None:
    retailops.post(COMPLETE, body=body)

    await client.complete(DONE)

    assert len(retailops.sent("POST", COMPLETE)) == 1


async def test_a_page_in_the_charset_of_its_header_is_read(
    client: RetailopsClient, retailops: Responses
) -> None:
    body = '{"success":1,"records":[{"po":"D1","note":"José"}]}'
    retailops.post(
        FETCH,
        body=body.encode("latin-1"),
        headers={"Content-Type": "application/json; charset=ISO-8859-1"},
    )

    assert (await client.fetch(0, 100)).records == ({"po": "D1", "note": "José"},)


async def test_a_page_longer_than_a_page_may_be_breaks_the_contract() -> None:
    body = b'{"records":["' + b"x" * 4 * 1024 * 1024 + b'"]}'
    async with raw_server(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)) as server:
        client = RetailopsClient(settings(base_url=server.url.rstrip("/")))

        with pytest.raises(PartnerContractBroken, match="at most 4194304 bytes"):
            await client.fetch(0, 100)
        await client.close()


# --- carrier classes -----------------------------------------------------------------------------------------


async def test_a_class_is_found_by_its_name_in_any_case_and_the_list_is_kept_for_an_hour(
    client: RetailopsClient, retailops: Responses, clock: Clock
) -> None:
    retailops.post(CLASSES, payload={"success": 1, "records": [UPS, {"name": "no id"}, None, FEDEX]})
    retailops.post(CLASSES, payload={"success": 1, "records": [{**UPS, "id": 99}]})

    first = await client.carrier_class_id(" ups  GROUND ")
    clock.now += timedelta(minutes=59)
    kept = await client.carrier_class_id("UPS Ground")
    clock.now += timedelta(minutes=1)
    afresh = await client.carrier_class_id("UPS Ground")

    assert (first, kept, afresh) == (62, 62, 99)


async def test_a_class_whose_id_is_beyond_every_integer_is_left_out(
    client: RetailopsClient, retailops: Responses
) -> None:
    """It could not be written into a parcel."""
    endless = [{**FEDEX, "id": "9" * 4000}, {**FEDEX, "id": 1e300}]
    retailops.post(CLASSES, payload={"records": [UPS, *endless]})

    assert [found.name for found in await client.carrier_classes()] == ["UPS Ground"]


async def test_a_miss_reads_the_list_once_more(client: RetailopsClient, retailops: Responses) -> None:
    retailops.post(CLASSES, payload={"records": [UPS]})
    retailops.post(CLASSES, payload={"records": [UPS, FEDEX]})
    await client.carrier_classes()

    found = await client.carrier_class_id("FedEx Home Delivery")

    assert found == 8
    assert len(retailops.sent("POST", CLASSES)) == 2


async def test_an_unknown_class_names_what_is_known_and_is_not_asked_for_twice_in_a_row(
    client: RetailopsClient, retailops: Responses
) -> None:
    """Edge case 27: an error for the dead-letter queue, not a default id."""
    retailops.post(CLASSES, payload={"records": [UPS, FEDEX]})

    with pytest.raises(UnknownCarrierClass, match="'FedEx Home Delivery', 'UPS Ground'") as unknown:
        await client.carrier_class_id("DHL")

    assert isinstance(unknown.value, PermanentError)
    assert len(retailops.sent("POST", CLASSES)) == 1


async def test_a_miss_is_left_alone_where_no_refresh_is_wanted(
    client: RetailopsClient, retailops: Responses
) -> None:
    retailops.post(CLASSES, payload={"records": [UPS]})
    await client.carrier_classes()

    with pytest.raises(UnknownCarrierClass):
        await client.carrier_class_id("DHL", refresh_on_miss=False)
