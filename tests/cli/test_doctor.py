"""`hub doctor`: every fault once, with what was expected, what came and what to do, and never a secret."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hub.cli.doctor import diagnose
from hub.cli.up.sandbox_scenario import sandbox_scene
from hub.config.settings import Settings, State
from hub.observability.health_checks import Diagnosis, examine, well
from hub.operations.doctor.partners import examine_iqmetrix, examine_retailops, examine_webhooks
from hub.operations.doctor.pollers import examine_pollers
from hub.operations.doctor.store import examine_store
from hub.state.poller_notes import PollerNotes
from hub.state.store import open_store
from tests.cli.conftest import Hub
from tests.partners.iqmetrix.samples import settings
from tests.ports import free_port

SECRETS = ("password", "client_secret", "api_key", "key", "signing_secret")


@asynccontextmanager
async def healthy(broker_url: str, folder: Path) -> AsyncIterator[Settings]:
    async with sandbox_scene(
        broker_url, folder, orders=3, seed=3, fault_rate=0.0, with_retailops=True
    ) as scene:
        yield scene.settings


def faults(found: list[Diagnosis]) -> list[Diagnosis]:
    return [one for one in found if not one.ok]


def changed(section: Any, **values: Any) -> Any:
    return type(section).model_validate(section.model_dump() | values)


# --- all of it


@pytest.mark.broker
async def test_with_everything_in_order_all_is_well_and_nobody_was_sent_anything(
    broker_url: str, tmp_path: Path
) -> None:
    async with sandbox_scene(
        broker_url, tmp_path, orders=3, seed=3, fault_rate=0.0, with_retailops=True
    ) as scene:
        found = await diagnose(scene.settings)

        assert faults(found) == []
        checks = {one.check for one in found}
        assert {"settings", "broker", "topology", "state store", "disk of the state store"} <= checks
        assert {"iqmetrix 71204", "clock against iqmetrix 71204", "webhooks acme token"} <= checks
        assert scene.iqmetrix.updates == []
        assert [receiver.received for receiver in scene.receivers] == [[], []]
        assert scene.iqmetrix.violations == []


@pytest.mark.broker
async def test_the_command_prints_a_table_and_json_and_no_secret(
    hub: Hub, broker_url: str, tmp_path: Path
) -> None:
    async with healthy(broker_url, tmp_path) as settings:
        environment = {"HUB_CONFIG": str(tmp_path / "hub.toml")}
        table = await asyncio.to_thread(hub, "doctor", **environment)
        as_json = await asyncio.to_thread(hub, "doctor", "--json", **environment)
        wrong = await asyncio.to_thread(
            hub, "doctor", HUB_BROKER__URL="amqp://x:s3cret@127.0.0.1:1/", **environment
        )
        secrets = [
            settings.iqmetrix[0].password,
            settings.iqmetrix[0].client_secret,
            settings.retailops[0].api_key,
        ]

    assert table.exit_code == 0
    assert table.stdout.splitlines()[0] == "check\tstate\tgot\texpected\twhat to do"
    assert table.stdout.splitlines()[-1] == "all well"
    assert {row["state"] for row in json.loads(as_json.stdout)} == {"ok"}
    assert wrong.exit_code == 1
    assert "1 fault of" in wrong.stdout
    printed = table.output + as_json.output + wrong.output
    assert [secret for secret in secrets if secret.get_secret_value() in printed] == []
    assert "s3cret" not in printed


def test_settings_that_cannot_be_read_are_faults_as_well(hub: Hub) -> None:
    result = hub("doctor", "--json", HUB_BROKER__PREFETCH="many", HUB_HTTP__PORT="70000")

    rows = json.loads(result.stdout)
    assert result.exit_code == 1
    assert [row["check"] for row in rows] == ["settings", "settings"]
    assert any("broker.prefetch" in row["got"] for row in rows)


async def test_no_partner_and_no_broker_are_faults(tmp_path: Path) -> None:
    found = faults(await diagnose(Settings(state=State(url=f"sqlite+aiosqlite:///{tmp_path}/hub.db"))))

    assert [one.check for one in found] == ["settings", "broker"]
    assert "hub.example.toml" in found[0].remedy


async def test_an_examination_that_hangs_is_a_fault_and_delays_no_other() -> None:
    async def hangs() -> list[Diagnosis]:
        await asyncio.Event().wait()
        return []

    async def fine() -> list[Diagnosis]:
        return [well("fine", "seen")]

    found = await examine({"slow": hangs, "fine": fine}, within=0.05)

    assert [(one.check, one.ok, one.got) for one in found] == [
        ("slow", False, "no answer within 0.05 s"),
        ("fine", True, "seen"),
    ]


# --- state store


def store_at(path: Path) -> State:
    return State(url=f"sqlite+aiosqlite:///{path}")


async def test_a_store_that_is_not_there_yet_is_well_and_is_not_made(tmp_path: Path) -> None:
    found = await examine_store(store_at(tmp_path / "var" / "hub.db"))

    assert faults(found) == []
    assert "is not there yet" in found[0].got
    assert not (tmp_path / "var").exists()


def content_of(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        return list(connection.iterdump())


async def test_a_migrated_store_is_well_and_holds_what_it_held(tmp_path: Path) -> None:
    await (await open_store(f"sqlite+aiosqlite:///{tmp_path}/hub.db")).close()
    before = content_of(tmp_path / "hub.db")

    found = await examine_store(store_at(tmp_path / "hub.db"))

    assert faults(found) == []
    assert "writable" in found[0].got
    assert content_of(tmp_path / "hub.db") == before


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "an empty database"), (b"this is no database at all " * 50, "not a database")]
)
async def test_a_store_without_schema_and_a_file_that_is_none_are_faults(
    content: bytes, said: str, tmp_path: Path
) -> None:
    (tmp_path / "hub.db").write_bytes(content)

    (found,) = faults(await examine_store(store_at(tmp_path / "hub.db")))

    assert said in found.got
    assert "with schema" in found.expected


async def test_a_disk_that_is_nearly_full_is_a_fault(tmp_path: Path) -> None:
    (found,) = faults(await examine_store(store_at(tmp_path / "hub.db"), least_free=10**18))

    assert found.check == "disk of the state store"
    assert "MiB free" in found.got


# --- partners


async def test_refused_credentials_are_told_from_a_partner_that_is_away(tmp_path: Path) -> None:
    async with healthy("amqp://x:y@127.0.0.1:1/", tmp_path) as settings:
        account, vendor, acme = settings.iqmetrix[0], settings.retailops[0], settings.webhooks[0]
        oauth = acme.auth.model_dump() | {"client_secret": "wrong-secret"}
        refused = [
            *faults(await examine_iqmetrix(changed(account, password="wrong-secret"))),
            *faults(await examine_retailops(changed(vendor, api_key="wrong-secret"))),
            *faults(await examine_webhooks(changed(acme, auth=oauth))),
        ]
        away = [
            *faults(await examine_iqmetrix(changed(account, base_url=closed(), token_url=closed()))),
            *faults(await examine_retailops(changed(vendor, base_url=closed()))),
            *faults(
                await examine_webhooks(
                    changed(settings.webhooks[1], **dict.fromkeys(URLS, f"{closed()}/hook"))
                )
            ),
        ]

    assert [one.check for one in refused] == [
        "iqmetrix 71204",
        f"retailops {vendor.account}",
        "webhooks acme token",
    ]
    assert [one.remedy.startswith("correct the credentials") for one in refused] == [True] * 3
    assert len(away) == 3
    assert [one for one in away if "credentials" in one.remedy] == []
    assert "wrong-secret" not in str(refused)


URLS = ("confirmation_url", "cancellation_url", "partial_cancellation_url", "disposition_url")


def closed() -> str:
    """The address of a port where nobody listens."""
    return f"http://127.0.0.1:{free_port()}"


async def test_a_ship_class_that_the_account_does_not_have_is_a_fault(tmp_path: Path) -> None:
    async with healthy("amqp://x:y@127.0.0.1:1/", tmp_path) as settings:
        vendor = changed(settings.retailops[0], ship_classes={"UPS Ground": "No Such Class"})

        (found,) = faults(await examine_retailops(vendor))

    assert "No Such Class" in found.expected
    assert "'UPS Ground'" in found.remedy


@pytest.mark.parametrize(("off", "direction"), [(3600, "ahead of"), (-3600, "behind")])
async def test_a_clock_that_is_off_is_told_with_by_how_much_and_which_way(
    off: int, direction: str, tmp_path: Path
) -> None:
    async with healthy("amqp://x:y@127.0.0.1:1/", tmp_path) as settings:
        (found,) = faults(
            await examine_iqmetrix(settings.iqmetrix[0], lambda: datetime.now(UTC) + timedelta(seconds=off))
        )

    assert found.check == "clock against iqmetrix 71204"
    assert f"{direction} it" in found.got
    assert "NTP" in found.remedy


async def test_a_poller_that_never_succeeded_is_a_fault_with_what_to_check(tmp_path: Path) -> None:
    facts = {
        "since": "2024-05-14",
        "status": 404,
        "code": "partner_rejected",
        "reason": "no",
        "check": "the account",
    }
    configured = Settings(state=store_at(tmp_path / "hub.db"), iqmetrix=(settings(),))
    nothing_yet = await examine_pollers(configured)
    store = await open_store(configured.state.url)
    await PollerNotes(store, "iqmetrix.orders:71204").set_failure(facts)
    await store.close()

    (found,) = await examine_pollers(configured)

    assert nothing_yet == []
    assert (found.ok, found.check) == (False, "poller iqmetrix.orders:71204")
    assert found.got == "has never succeeded; fails since 2024-05-14 (partner_rejected, status 404): no"
    assert found.remedy == "check the account"
