import json
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.config.reference import settings_table
from hub.config.settings import Settings
from hub.operations.masking import MASK, masked_url
from tests.cli.conftest import EXAMPLE, Hub


def test_the_example_is_fine(hub: Hub) -> None:
    result = hub("config", "check")

    assert (result.exit_code, result.stdout) == (0, "settings are fine\n")
    assert all("a placeholder of the example" in line for line in result.stderr.splitlines())


SECRETS = """
[broker]
url = "amqp://hub:hush-broker@{host}/"
[[retailops]]
vendor_id = "acme"
{api_key}
"""


def check(hub: Hub, folder: Path, *, mode: int = 0o600, host: str = "localhost", api_key: str = "") -> str:
    """What is suspicious about a file, on standard error."""
    file = folder / "own.toml"
    file.write_text(SECRETS.format(host=host, api_key=api_key or 'api_key = "hush-key"'))
    file.chmod(mode)
    result = hub("config", "check", HUB_CONFIG=str(file))
    assert (result.exit_code, result.stdout) == (0, "settings are fine\n")
    assert "hush" not in result.output
    return result.stderr


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize("mode", [0o644, 0o604])
def test_a_settings_file_with_secrets_that_others_can_read_is_named(
    hub: Hub, open_folder: Path, mode: int
) -> None:
    told = check(hub, open_folder, mode=mode)

    assert told == (
        f"warning: {open_folder}/own.toml: holds secrets, and other users of this machine can read it"
        f" (mode {mode:04o}); chmod 600 {open_folder}/own.toml\n"
    )


def test_a_settings_file_that_others_cannot_reach_is_no_warning(hub: Hub, open_folder: Path) -> None:
    private = check(hub, open_folder)
    open_folder.chmod(0o700)
    behind_a_door = check(hub, open_folder, mode=0o644)

    assert (private, behind_a_door) == ("", "")


def test_a_readable_file_of_one_secret_is_named_whoever_names_it(hub: Hub, open_folder: Path) -> None:
    key = open_folder / "api_key"
    key.write_text("hush-key")
    key.chmod(0o644)

    by_file = check(hub, open_folder, api_key=f'api_key_file = "{key}"')
    by_variable = hub("config", "check", HUB_BROKER__KEY_FILE=str(key)).stderr

    assert f"warning: {key}: holds secrets" in by_file
    assert f"warning: {key}: holds secrets" in by_variable


@pytest.mark.parametrize(
    ("host", "is_near"),
    [
        ("localhost", True),
        ("127.0.0.2", True),
        ("[::1]:5672", True),
        ("broker.test", False),
        ("10.0.0.7", False),
        ("localhost.test", False),
    ],
)
def test_plain_amqp_to_another_machine_is_named(hub: Hub, tmp_path: Path, host: str, is_near: bool) -> None:
    told = check(hub, tmp_path, host=host)

    assert told == (
        ""
        if is_near
        else f"warning: broker.url: plain amqp:// to {host}: whoever can listen on the way reads the password and every"
        " order; use amqps://, unless nobody else is on that network\n"
    )


def test_variables_of_a_platform_are_one_warning(hub: Hub) -> None:
    result = hub("config", "check", HUB_PORT="tcp://10.0.0.7:80", HUB_SERVICE_HOST="10.0.0.7")

    assert result.exit_code == 0
    assert [line for line in result.stderr.splitlines() if "HUB_" in line] == [
        "warning: HUB_PORT, HUB_SERVICE_HOST: no settings of the hub, and ignored; a platform makes such variables of a"
        ' service that is called "hub"'
    ]


def test_show_masks_every_secret_also_the_password_inside_an_address(hub: Hub) -> None:
    secrets = {
        "HUB_BROKER__URL": "amqp://hub:hush-broker@localhost/",
        "HUB_STATE__URL": "postgresql+asyncpg://hub:hush-store@localhost/hub",
        "HUB_IQMETRIX__0__PASSWORD": "hush-password",
        "HUB_IQMETRIX__0__CLIENT_SECRET": "hush-client",
        "HUB_WEBHOOKS__0__SIGNING_SECRET": "whsec_aHVzaA==",
        "HUB_WEBHOOKS__0__CONFIRMATION_URL": "https://acme.example/hook?token=hush-query",
        "HUB_WEBHOOKS__1__AUTH__KEY": "hush-key",
    }

    for words in (("config", "show"), ("config", "show", "--json")):
        result = hub(*words, **secrets)

        assert result.exit_code == 0
        assert "hush" not in result.output
        assert "whsec_aHVzaA" not in result.output
        assert "amqp://hub:***@localhost/" in result.output


def test_show_prints_toml_that_says_what_is_in_effect(hub: Hub) -> None:
    shown = tomllib.loads(hub("config", "show", HUB_BROKER__PREFETCH="7").output)

    assert shown["broker"]["prefetch"] == 7
    assert shown["retry"]["waits"] == ["5s", "25s", "2m", "10m", "52m"]
    confirmation = shown["webhooks"][0]["confirmation_url"]
    assert confirmation.startswith("https://")
    assert confirmation.endswith(f"/{MASK}"), "the path of a webhook may be a secret"
    assert shown["iqmetrix"][0]["token_url"].endswith(f"/{MASK}")
    assert not shown["iqmetrix"][0]["base_url"].endswith(f"/{MASK}")
    assert shown["webhooks"][0]["shipping_methods"]["UPS Ground"] == "STANDARD"
    assert shown["webhooks"][1]["auth"] == {"type": "api_key", "header": "X-Api-Key", "key": MASK}


def test_show_as_json_has_every_section(hub: Hub) -> None:
    assert set(json.loads(hub("config", "show", "--json").output)) == set(Settings.model_fields)


def test_the_table_names_every_setting_of_every_section() -> None:
    table = settings_table()

    for key in (
        "`[broker]`",
        "`[[webhooks]]`",
        "`url`, `url_file`",
        "`auth[oauth2].token_url`",
        "`defaults.brand`",
    ):
        assert key in table
    assert all(line.count("|") - line.count("\\|") == 4 for line in table.splitlines())


def test_the_example_says_every_section_and_nothing_secret() -> None:
    text = EXAMPLE.read_text()

    for section in Settings.model_fields:
        assert f"[{section}]" in text
    for secret in ("password", "client_secret", "api_key", "key"):
        for line in text.splitlines():
            if line.lstrip("# ").startswith(f"{secret} = "):
                assert "CHANGE-ME" in line


def test_an_address_with_a_strange_password_is_masked_too_much_rather_than_too_little() -> None:
    assert masked_url("postgresql://u:p@ss/w?rd@h/d") == "postgresql://u:***@h/d"
    assert masked_url("sqlite+aiosqlite:///var/hub.db") == "sqlite+aiosqlite:///var/hub.db"
    assert masked_url("https://h/x?a=1&b=2") == "https://h/x?a=***&b=***"
