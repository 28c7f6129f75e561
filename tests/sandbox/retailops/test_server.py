"""The simulated RetailOps: the protocol as the documents say, and its faults."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import orjson
import pytest

from hub.sandbox import DateStyle, Dialect, Fault, Faults, RetailopsFault, RetailopsSandbox
from tests.sandbox.caller import Clock
from tests.sandbox.retailops_caller import CLASSES, FETCH, INVENTORY, SUBMIT, Vendor, marked, whats

ADVICE = {"records": [{"vendor_id": "27", "vpc": "NF-CHG-30", "quantity": 4}]}


@pytest.fixture
async def vendor(client: aiohttp.ClientSession, clock: Clock) -> AsyncIterator[Vendor]:
    async with RetailopsSandbox(seed=7, now=clock) as ro:
        yield Vendor(client, ro)


# --- the protocol


@pytest.mark.parametrize(
    "path",
    ["Vendor/PO/Fetch.json", "vendor/po/fetch.json", "Vendor/PO/fetch~1.json", "VENDOR/PO/FETCH~1.JSON"],
)
async def test_a_path_is_found_in_any_case_with_and_without_its_version(vendor: Vendor, path: str) -> None:
    asked = {"vendor_id": "27", "start": 0, "limit": 100, "status": "ready", "with_items": True}

    answer = await vendor.call(path, asked)

    assert answer == {"success": 1, "records": []}
    assert not vendor.ro.violations


@pytest.mark.parametrize(
    ("path", "status", "violation"),
    [
        ("Vendor/PO/Cancel.json", 404, "path: no such action is documented"),
        ("Vendor/PO/Fetch", 404, "path: no such action is documented"),
        ("Vendor/PO/Fetch~2.json", 404, "version: ~1 is documented"),
        ("product/externalsku/update~1.json", 404, "version: ~2 is documented"),
        ("product/externalsku/update.json", 200, "version: left out where ~2 is documented"),
    ],
)
async def test_undocumented_paths_and_versions_are_violations(
    vendor: Vendor, path: str, status: int, violation: str
) -> None:
    answered, _ = await vendor.send(path, orjson.dumps(ADVICE))

    assert answered == status
    assert whats(vendor.ro) == [violation]


async def test_another_verb_than_post_is_a_violation(vendor: Vendor) -> None:
    status, _ = await vendor.send(FETCH, b"", method="GET")

    assert status == 405
    assert whats(vendor.ro) == ["method GET where POST is documented"]


async def test_a_wrong_key_is_refused_and_a_key_in_the_query_is_a_violation(vendor: Vendor) -> None:
    wrong = await vendor.send(CLASSES, b'{"all": 1}', apikey="wrong")
    in_query = await vendor.send(f"{CLASSES}?apikey={vendor.ro.api_key}", b'{"all": 1}', apikey="wrong")

    assert wrong == in_query == (200, b'{"ERROR":"invalid apikey","ERRORCODE":"1010"}')
    assert whats(vendor.ro) == ["query: no parameters are documented, and a key there ends up in logs"]
    assert vendor.ro.api_key not in repr(vendor.ro.requests)


@pytest.mark.parametrize(
    ("body", "media_type", "violation"),
    [
        (b"all=1", "application/x-www-form-urlencoded", "Content-Type: application/json is documented"),
        (b"[]", "application/json", "body: not a JSON object"),
        (b'{"all": 1', "application/json", "body: not a JSON object"),
    ],
)
async def test_only_a_json_object_is_understood(
    vendor: Vendor, body: bytes, media_type: str, violation: str
) -> None:
    _, answer = await vendor.send(CLASSES, body, Content_Type=media_type)

    assert orjson.loads(answer)["ERROR"]
    assert whats(vendor.ro) == [violation]


async def test_errors_come_with_another_status_when_set_so(client: aiohttp.ClientSession) -> None:
    async with RetailopsSandbox(error_status=422) as ro:
        status, body = await Vendor(client, ro).send(SUBMIT, b'{"records": [{"po": "D1", "items": []}]}')

    assert (status, orjson.loads(body)) == (422, {"ERROR": "invalid po", "ERRORCODE": "1042"})


@pytest.mark.parametrize("success", [1, "1", True])
async def test_good_answers_are_typed_loosely_when_set_so(
    client: aiohttp.ClientSession, success: int | str | bool
) -> None:
    dialect = Dialect(success, numbers_as_strings=True, null_errorcode=True)
    async with RetailopsSandbox(dialect=dialect) as ro:
        ro.add_order(products=[("NF-CHG-30", 2)], written=DateStyle.epoch)
        vendor = Vendor(client, ro)
        classes = await vendor.call(CLASSES, {"all": "1"})
        (record,) = await vendor.fetch()

    assert classes["success"] == success
    assert classes["ERRORCODE"] == "null"
    assert classes["records"][0] == {"id": "62", "name": "UPS Ground"}
    assert record["items"] == [{"po_item_id": "90311", "vpc": "NF-CHG-30", "quantity": "2"}]
    assert record["date_submit"].isdigit()
    assert not ro.violations


async def test_two_requests_of_one_key_at_once_are_a_violation(client: aiohttp.ClientSession) -> None:
    waiting, release = asyncio.Event(), asyncio.Event()

    async def wait(_: float) -> None:
        waiting.set()
        await release.wait()

    async with RetailopsSandbox(faults=Faults(sleep=wait)) as ro, asyncio.TaskGroup() as tasks:
        vendor = Vendor(client, ro)
        ro.script("CarrierClass", [Fault.slow])
        first = tasks.create_task(vendor.call(CLASSES, {"all": 1}))
        await waiting.wait()
        await vendor.call(INVENTORY, ADVICE)
        release.set()
        await first
        await vendor.call(CLASSES, {"all": 1})

        assert whats(ro) == ["a second request of this key while one is in flight"]


async def test_a_client_that_hung_up_may_ask_again(client: aiohttp.ClientSession) -> None:
    waiting, release = asyncio.Event(), asyncio.Event()

    async def wait(_: float) -> None:
        waiting.set()
        await release.wait()

    async with RetailopsSandbox(faults=Faults(sleep=wait)) as ro:
        vendor = Vendor(client, ro)
        ro.script("CarrierClass", [Fault.slow])
        first = asyncio.create_task(vendor.call(CLASSES, {"all": 1}))
        await waiting.wait()
        first.cancel()
        await asyncio.wait([first])
        await vendor.call(CLASSES, {"all": 1})
        release.set()

        assert not ro.violations


# --- faults


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        (RetailopsFault.error_200, b'{"ERROR":"internal error, try again later","ERRORCODE":"1000"}'),
        (RetailopsFault.unsuccessful, b'{"success":0}'),
        (RetailopsFault.html, b"<!DOCTYPE html><html><body><h1>We will be right back</h1></body></html>"),
    ],
)
async def test_http_200_proves_nothing(vendor: Vendor, fault: RetailopsFault, answer: bytes) -> None:
    order = vendor.ro.add_order()
    vendor.ro.script("MarkSubmitted", [fault])
    body = orjson.dumps({"records": [marked(order)]})

    failed = await vendor.send(SUBMIT, body)
    before = vendor.ro.status(order.po)
    again = await vendor.send(SUBMIT, body)

    assert (failed, before) == ((200, answer), "ready")
    assert (again, vendor.ro.status(order.po)) == ((200, b'{"success":1}'), "submitted")
    assert vendor.ro.injected == {("MarkSubmitted", fault): 1}
    assert not vendor.ro.doubled()


async def test_scripted_faults_of_both_kinds_are_met_in_their_order(vendor: Vendor) -> None:
    kinds = [Fault.unavailable, RetailopsFault.html, None, Fault.throttled_retry_after, Fault.unauthorized]
    vendor.ro.script("CarrierClass", kinds)

    answers = [await vendor.send(CLASSES, b'{"all": 1}') for _ in range(6)]

    assert [status for status, _ in answers] == [503, 200, 200, 429, 401, 200]
    assert orjson.loads(answers[3][1])["ERROR"] == "too many requests"
    assert vendor.ro.record_counts("CarrierClass") == [6, 6]


def test_an_unknown_operation_cannot_be_scripted() -> None:
    with pytest.raises(ValueError, match="no operation 'Cancel': expected one of Fetch"):
        RetailopsSandbox().script("Cancel", [None])
