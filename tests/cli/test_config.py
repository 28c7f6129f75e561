import json
import tomllib

from hub.cli.masking import MASK, masked_url
from hub.cli.settings_table import settings_table
from hub.config import Settings
from tests.cli.conftest import EXAMPLE, Hub


def test_the_example_is_fine(hub: Hub) -> None:
    result = hub("config", "check")

    assert (result.exit_code, result.output) == (0, "settings are fine\n")


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
