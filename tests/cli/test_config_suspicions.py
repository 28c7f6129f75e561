"""`hub config check` names what is no fault and still most likely a mistake."""

from pathlib import Path

import pytest

from tests.cli.conftest import Hub


@pytest.fixture
def warnings(hub: Hub, tmp_path: Path):
    """What `hub config check` warns of for a settings file, line by line."""

    def check(text: str) -> list[str]:
        file = tmp_path / "own.toml"
        file.write_text(text)
        file.chmod(0o600)
        result = hub("config", "check", HUB_CONFIG=str(file))
        assert (result.exit_code, result.stdout) == (0, "settings are fine\n")
        return [line.removeprefix("warning: ") for line in result.stderr.splitlines()]

    return check


CLIENT = '[[webhooks]]\nname = "acme"\n'


def test_a_placeholder_is_named_by_its_setting_and_not_quoted(warnings) -> None:
    found = warnings('[[retailops]]\nvendor_id = "27"\napi_key = "CHANGE-ME"\n')

    assert found == ["retailops.0.api_key: a placeholder of the example; put the real value in its place"]


def test_a_host_of_the_example_is_a_placeholder(warnings) -> None:
    found = warnings(CLIENT + 'partial_cancellation_url = "https://acme.example/hooks"\n')

    assert found == [
        "webhooks.0.partial_cancellation_url: a placeholder of the example; put the real value in its place"
    ]


def test_waits_that_do_not_grow_are_named(warnings) -> None:
    assert any(
        found.startswith("retry.waits: they do not grow")
        for found in warnings('[retry]\nwaits = ["5s", "5s"]\n')
    )


def test_a_client_without_an_address_is_named(warnings) -> None:
    (found,) = warnings(CLIENT)

    assert found.startswith("webhooks (acme): no address, so nothing is ever sent")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("iqmetricks", "no source is named 'iqmetricks'; there are iqmetrix, retailops"),
        ("iqmetrix", "there is no [[iqmetrix]] table, so no order of iqmetrix will come"),
    ],
)
def test_a_source_without_orders_is_named(warnings, source: str, expected: str) -> None:
    url = 'partial_cancellation_url = "https://acme.test/hooks"\n'

    assert warnings(f'{CLIENT}{url}sources = ["{source}"]\n') == [f"webhooks (acme): sources: {expected}"]


def test_a_required_field_without_a_default_is_named(warnings) -> None:
    found = warnings(CLIENT + 'confirmation_url = "https://acme.test/hooks"\n')

    assert [line.partition(" is not set")[0] for line in found] == [
        f"webhooks (acme): defaults.{name}"
        for name in ("channel", "shipping_method", "weight_lb", "package_cost_cents")
    ]


def test_settings_with_nothing_to_do_are_named(warnings) -> None:
    assert any(
        "nothing to poll and no client to call" in found for found in warnings('[log]\nlevel = "info"\n')
    )


@pytest.mark.parametrize(
    "words",
    [
        ("config", "check"),
        ("orders", "list"),
        ("letters", "list"),
        ("topology", "plan"),
        ("run",),
    ],
)
def test_no_settings_at_all_are_a_fault(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.delenv("HUB_CONFIG")
    monkeypatch.delenv("HUB_STATE__URL")

    result = hub(*words)

    assert result.exit_code == 2
    assert "expected settings, got none: there is no hub.toml in" in result.stderr


def test_no_command_makes_an_empty_state_store(hub: Hub, tmp_path: Path) -> None:
    result = hub("orders", "list")

    assert result.exit_code == 2
    assert "expected the state store of a hub that has run, got no file at" in result.stderr
    assert list(tmp_path.glob("hub.db*")) == []
