"""What the list of metrics promises: names as Prometheus wants them, ages that are never stale, counters from zero."""

import asyncio
import re
from datetime import UTC, datetime, timedelta

from prometheus_client import REGISTRY, generate_latest

from hub.observability import metrics
from hub.observability.metrics import CURSOR_AGE, expect_poller, expect_queue
from tests.eventually import eventually
from tests.monitoring.promtool import ROOT, promtool

# What a label may be called: nothing that a message, an order or an address could fill.
LABELS = {
    "type", "queue", "kind", "consumer", "outcome", "partner", "operation", "poller", "result", "fate", "state",
    "because", "version", "python", "le",
    "destination", "account", "orphan",
}  # fmt: skip


def sample(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


def test_prometheus_finds_nothing_to_say_about_the_names() -> None:
    told = promtool("check", "metrics", text=generate_latest(REGISTRY).decode())

    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")


def test_all_metrics_are_in_the_one_list() -> None:
    makers = re.compile(r"from prometheus_client import .*\b(Counter|Gauge|Histogram|Info|Summary)\b")

    elsewhere = [
        str(file.relative_to(ROOT))
        for side in ("hub", "producers", "consumers")
        for file in (ROOT / side).rglob("*.py")
        if file != ROOT / "hub/observability/metrics.py" and makers.search(file.read_text(encoding="utf-8"))
    ]

    assert elsewhere == []


def test_labels_are_names_of_the_hub() -> None:
    used = {
        label
        for family in REGISTRY.collect()
        if family.name.startswith("hub_")
        for one in family.samples
        for label in one.labels
    }

    assert used <= LABELS


async def test_an_age_grows_by_itself() -> None:
    CURSOR_AGE.since("test-age", datetime.now(UTC) - timedelta(hours=1))
    first = sample("hub_cursor_age_seconds", poller="test-age") or 0

    assert 3600 <= first < 3660
    await eventually(lambda: (sample("hub_cursor_age_seconds", poller="test-age") or 0) > first)
    CURSOR_AGE.forget("test-age")
    assert sample("hub_cursor_age_seconds", poller="test-age") is None


def test_an_age_that_is_nobodys_is_forgotten_in_silence() -> None:
    CURSOR_AGE.forget("never-heard-of")


def test_a_moment_in_the_future_is_no_negative_age() -> None:
    CURSOR_AGE.since("test-future", datetime.now(UTC) + timedelta(hours=1))

    assert sample("hub_cursor_age_seconds", poller="test-future") == 0
    CURSOR_AGE.forget("test-future")


def test_counters_of_queues_and_pollers_begin_at_zero_so_that_the_first_letter_is_a_rise() -> None:
    expect_queue("hub.test.zero")
    expect_poller("test.zero")

    assert sample("hub_letters_total", queue="hub.test.zero") == 0
    assert sample("hub_invalid_messages_total", queue="hub.test.zero") == 0
    assert sample("hub_deliveries_total", queue="hub.test.zero", outcome="dead") == 0
    assert sample("hub_taken_in_total", poller="test.zero", fate="set_aside") == 0
    assert sample("hub_feed_held", poller="test.zero") == 0


def test_the_build_is_told() -> None:
    (family,) = metrics.BUILD.collect()

    assert set(family.samples[0].labels) == {"version", "python"}


async def test_a_task_is_counted_as_long_as_it_lives() -> None:
    end = asyncio.Event()
    before = sample("hub_tasks") or 0

    task = asyncio.create_task(end.wait())
    during = sample("hub_tasks")
    end.set()
    await task

    assert (during, sample("hub_tasks")) == (before + 1, before)


def test_there_are_no_tasks_without_a_loop() -> None:
    assert sample("hub_tasks") == 0
