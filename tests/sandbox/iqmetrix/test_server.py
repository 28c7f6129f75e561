"""The simulated iQmetrix: token service and feed as the documents say."""

from datetime import timedelta

import aiohttp
import pytest
from lxml import etree

from hub.sandbox import Fault, IqmetrixSandbox
from tests.sandbox.caller import ATOM, DROPSHIP, PASSWORD_FORM, Caller, Clock, whats

NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"
PRODUCTION = "https://dropship.iqmetrix.net/v1/Suppliers(71204)/Notifications"


def links(feed: etree._Element) -> dict[str, str]:
    return {str(link.get("rel")): str(link.get("href")) for link in feed.findall(f"{ATOM}link")}


def entry_ids(feed: etree._Element) -> list[str]:
    return [str(entry.findtext(f"{ATOM}id")) for entry in feed.findall(f"{ATOM}entry")]


# --- tokens


async def test_the_password_grant_gives_a_token_that_expires(caller: Caller, clock: Clock) -> None:
    status, answer = await caller.authenticate()

    good, _, _ = await caller.get("/Suppliers(71204)/Notifications")
    clock.at += timedelta(seconds=43199)
    late, body, _ = await caller.get("/Suppliers(71204)/Notifications")

    assert status == 200
    assert (set(answer), answer["expires_in"]) == ({"access_token", "expires_in", "refresh_token"}, 43199)
    assert (good, late, body) == (200, 401, b"Invalid token")


async def test_each_password_grant_leaves_earlier_tokens_valid(caller: Caller) -> None:
    first = caller.token

    await caller.authenticate()

    assert first != caller.token
    status, _, _ = await caller.get("/Suppliers(71204)/Notifications", Authorization=f"Bearer {first}")
    assert status == 200


async def test_a_refresh_revokes_the_access_token_it_came_with(caller: Caller) -> None:
    _, answer = await caller.authenticate()
    form = {"grant_type": "refresh_token", "refresh_token": answer["refresh_token"]}
    form |= {name: PASSWORD_FORM[name] for name in ("client_id", "client_secret")}

    async with caller.session.post(caller.iq.token_url, data=form) as response:
        refreshed = await response.json()
    async with caller.session.post(caller.iq.token_url, data=form) as response:
        again = response.status, await response.json()

    old, _, _ = await caller.get("/Suppliers(71204)/Notifications")
    caller.token = refreshed["access_token"]
    new, _, _ = await caller.get("/Suppliers(71204)/Notifications")
    assert (old, new) == (401, 200)
    assert again == (400, {"error": "invalid_grant"})
    assert not caller.iq.violations


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
        ({"client_secret": "wrong"}, "invalid_client"),
        ({"password": "wrong"}, "invalid_grant"),
    ],
)
async def test_a_wrong_token_request_is_answered_400_with_a_code(
    caller: Caller, changes: dict[str, str], error: str
) -> None:
    answer = await caller.authenticate(**changes)

    assert answer == (400, {"error": error})


async def test_a_token_request_in_json_is_an_unsupported_grant(caller: Caller) -> None:
    async with caller.session.post(caller.iq.token_url, json=PASSWORD_FORM) as response:
        answer = response.status, await response.json()

    assert answer == (400, {"error": "unsupported_grant_type"})
    assert whats(caller.iq) == ["Content-Type: the token endpoint takes a form"]


async def test_revoked_tokens_are_answered_401_in_plain_text(caller: Caller) -> None:
    caller.iq.revoke_tokens()

    status, body, headers = await caller.get("/Suppliers(71204)/Notifications")

    assert (status, body) == (401, b"Invalid token")
    assert headers["Content-Type"].startswith("text/plain")


# --- the feed


async def test_an_empty_feed_has_no_archive(caller: Caller) -> None:
    feed = await caller.feed()

    assert entry_ids(feed) == []
    assert links(feed) == {"current": PRODUCTION, "self": f"{PRODUCTION}/Pages({caller.iq.page_ids[0]})"}


async def test_new_entries_stand_on_top_of_a_page(caller: Caller) -> None:
    caller.iq.add_orders(3)

    feed = await caller.feed()

    assert entry_ids(feed) == caller.iq.entry_ids[::-1]


async def test_a_full_page_becomes_an_archive_and_keeps_its_id(caller: Caller) -> None:
    caller.iq.add_orders(3)
    full = links(await caller.feed())["self"]
    before = caller.iq.entry_ids[::-1]

    caller.iq.add_order()

    current, [old, new] = await caller.feed(), caller.iq.page_ids
    archive = await caller.feed(old)
    assert entry_ids(current) == caller.iq.entry_ids[3:]
    assert links(current) == {
        "current": PRODUCTION,
        "self": f"{PRODUCTION}/Pages({new})",
        "prev-archive": full,
    }
    assert entry_ids(archive) == before
    assert links(archive) == {
        "current": PRODUCTION,
        "self": full,
        "next-archive": f"{PRODUCTION}/Pages({new})",
    }


async def test_an_order_has_the_documents_children_in_alphabetical_order(caller: Caller) -> None:
    order = caller.iq.add_order()

    created = (await caller.feed()).find(f"{ATOM}entry/{ATOM}content/{DROPSHIP}order-created")

    assert created is not None
    assert [etree.QName(child).localname for child in created] == [
        "items", "order-id", "seller", "ship-to-store", "shipping-address", "shipping-customer",
        "shipping-method", "supplier-id",
    ]  # fmt: skip
    for group in (created.find(f"{DROPSHIP}shipping-address"), created.find(f"{DROPSHIP}seller")):
        assert group is not None
        names = [str(child.tag) for child in group]
        assert names == sorted(names)
    assert created.findtext(f"{DROPSHIP}order-id") == order.order_id
    prices = [element.text for element in created.iter(f"{DROPSHIP}selling-price")]
    assert prices == [line.selling_price for line in order.lines]


async def test_generated_orders_show_every_odd_shape_of_the_samples(caller: Caller) -> None:
    orders = caller.iq.add_orders(200)

    addresses = [order.address for order in orders]
    lines = [line for order in orders for line in order.lines]
    assert {len(order.lines) for order in orders} == {1, 2, 3, 4}
    assert {order.ship_to_store for order in orders} == {True, False}
    assert all(
        any(address[name] is None for address in addresses) for name in ("phone", "street-address-2", "type")
    )
    assert any(address["address-id"] == "00000000-0000-0000-0000-000000000000" for address in addresses)
    assert any(len(line.catalog_id) < 36 for line in lines)
    assert any(len(entry_id) < len("urn:uuid:") + 36 for entry_id in caller.iq.entry_ids)
    assert {"100", "24.5", "39.99", "0"} <= {line.selling_price for line in lines}
    assert len({line.catalog_id for line in lines}) == len(lines)
    nils = (await caller.feed(caller.iq.page_ids[0])).xpath(
        "count(//*[@i:nil='true'])", namespaces={"i": NIL[1:-4]}
    )
    assert nils


async def test_the_same_seed_gives_the_same_feed(clock: Clock) -> None:
    one, two = IqmetrixSandbox(seed=3, now=clock), IqmetrixSandbox(seed=3, now=clock)

    assert one.add_orders(20) == two.add_orders(20)
    assert (one.entry_ids, one.page_ids) == (two.entry_ids, two.page_ids)


async def test_duplicates_repeats_and_raw_entries_are_served_as_told(caller: Caller) -> None:
    order = caller.iq.add_order()
    [first] = caller.iq.entry_ids

    again = caller.iq.add_duplicate(order.order_id)
    caller.iq.add_entry_xml("<entry><id>urn:x</id><content><what xmlns='urn:new'/></content></entry>")
    caller.iq.repeat_entry(first)

    old = await caller.feed(caller.iq.page_ids[0])
    assert entry_ids(old) == ["urn:x", again, first]
    assert entry_ids(await caller.feed()) == [first]
    assert len(set(old.itertext(f"{DROPSHIP}order-id"))) == 1


async def test_a_page_rolls_over_between_two_reads(caller: Caller) -> None:
    caller.iq.add_orders(2)
    caller.iq.roll_over_between_reads()

    read, after = await caller.feed(), await caller.feed()

    assert links(after)["prev-archive"] == links(read)["self"]
    assert entry_ids(read) == caller.iq.entry_ids[1::-1]


async def test_rolling_over_is_a_fault_kind_too(caller: Caller) -> None:
    caller.iq.faults.script("feed", [Fault.rolled_over])

    read, after = await caller.feed(), await caller.feed()

    assert links(after)["prev-archive"] == links(read)["self"]


async def test_pages_can_be_missing_failing_unknown_and_looping(caller: Caller) -> None:
    caller.iq.add_orders(10)
    [oldest, middle, newer, current] = caller.iq.page_ids
    path = "/Suppliers(71204)/Notifications/Pages({})"

    caller.iq.drop_page(oldest)
    caller.iq.fail_page(newer, times=1)
    caller.iq.loop_archive(middle, current)

    assert (await caller.get(path.format(oldest)))[:2] == (404, b"Not found")
    assert [(await caller.get(path.format(newer)))[0] for _ in range(2)] == [503, 200]
    assert (await caller.get(path.format("unknown")))[:2] == (400, b"The request is invalid")
    assert links(await caller.feed(middle))["prev-archive"] == f"{PRODUCTION}/Pages({current})"


async def test_a_conditional_get_is_answered_304_until_something_is_new(
    client: aiohttp.ClientSession,
) -> None:
    async with IqmetrixSandbox(etag=True, now=Clock()) as iq:
        caller = Caller(client, iq)
        await caller.authenticate()
        _, _, headers = await caller.get("/Suppliers(71204)/Notifications")
        same, body, _ = await caller.get("/Suppliers(71204)/Notifications", If_None_Match=headers["ETag"])
        iq.add_order()
        changed, _, _ = await caller.get("/Suppliers(71204)/Notifications", If_None_Match=headers["ETag"])

    assert (same, body, changed) == (304, b"", 200)


async def test_an_archive_of_four_hundred_pages_is_served(client: aiohttp.ClientSession) -> None:
    async with IqmetrixSandbox(page_size=5) as iq:
        iq.add_orders(400 * 5 + 1)
        caller = Caller(client, iq)
        await caller.authenticate()
        page, pages = await caller.feed(), 1
        while "prev-archive" in links(page):
            page, pages = (
                await caller.feed(links(page)["prev-archive"].rpartition("(")[2].rstrip(")")),
                pages + 1,
            )

    assert len(iq.page_ids) == 401
    assert (pages, len(entry_ids(page))) == (401, 5)


async def test_every_answer_shows_the_rate_limit(caller: Caller, clock: Clock) -> None:
    caller.iq.faults.script("feed", [None, Fault.unauthorized, Fault.throttled])

    answers = [await caller.get("/Suppliers(71204)/Notifications") for _ in range(3)]
    answers.append(await caller.get("/nowhere"))

    assert [status for status, _, _ in answers] == [200, 401, 429, 404]
    for _, _, headers in answers:
        assert headers["X-RateLimit-Limit"] == "1000"
    assert answers[0][2]["X-RateLimit-Reset"] == "2024-05-14T16:03:00.0000000Z"
    assert answers[0][2]["X-RateLimit-ResetSeconds"] == "51"
    throttled = answers[2][2]
    assert (throttled["X-RateLimit-Remaining"], throttled["X-RateLimit-ResetSeconds"]) == ("0", "1")
    assert throttled["X-RateLimit-Reset"] == "2024-05-14T16:02:10.0000000Z"
    assert [record.fault for record in caller.iq.requests][-4:] == [
        None,
        Fault.unauthorized,
        Fault.throttled,
        None,
    ]


async def test_wrong_paths_suppliers_and_accepts_are_refused(caller: Caller) -> None:
    supplier = await caller.get("/Suppliers(1)/Notifications")
    path = await caller.get("/Supplier(71204)/Notifications")
    accept = await caller.get("/Suppliers(71204)/Notifications", Accept="application/json")
    posted, _ = await caller.send("POST", "/Suppliers(71204)/Notifications", {})

    assert supplier[:2] == (400, b"Cannot find supplier identifier in the uri")
    assert path[:2] == (404, b"Not found")
    assert (accept[0], posted) == (406, 405)
    assert len(caller.iq.violations) == 2
