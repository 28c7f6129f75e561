"""Settings: every fault at once, secrets from files, environment over file."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from hub.config.loading import foreign_variables
from hub.config.settings import Settings, State, load
from hub.config.types import shown_url
from hub.errors import ConfigError

IQMETRIX = """
[iqmetrix]
base_url = "https://dropshipdemo.iqmetrix.net/v1/"
token_url = "https://accountsdemo.iqmetrix.net/v1/oauth2/token"
supplier_id = 71204
username = "ops"
client_id = "c"
client_secret = "s"
"""


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "hub.toml"
    path.write_text(text)
    return path


def test_one_table_and_a_repeated_table_read_the_same(tmp_path: Path) -> None:
    text = IQMETRIX + 'password = "p"\n'

    one = load(_file(tmp_path, text), {})
    many = load(_file(tmp_path, text.replace("[iqmetrix]", "[[iqmetrix]]")), {})

    assert one == many
    assert one.iqmetrix[0].base_url == "https://dropshipdemo.iqmetrix.net/v1"
    assert one.iqmetrix[0].account == "71204"


def test_every_fault_is_named_at_once_with_key_and_kind_and_without_its_value(tmp_path: Path) -> None:
    text = (
        IQMETRIX
        + 'poll_every = "often"\ntypo = 1\n[broker]\nurl = "http://user:hunter2@h"\nprefetch = "many"\n'
        '[[webhooks]]\nname = "Acme!"\nsigning_secret = "hunter2"\nauth = { type = "magic" }\n'
    )

    with pytest.raises(ConfigError) as refused:
        load(_file(tmp_path, text), {})

    named = {fault.split(":")[0] for fault in refused.value.faults}
    assert named == {
        "broker.url",
        "broker.prefetch",
        "iqmetrix.0.poll_every",
        "iqmetrix.0.password",
        "iqmetrix.0.typo",
        "webhooks.0.name",
        "webhooks.0.signing_secret",
        "webhooks.0.auth",
    }
    assert "hunter2" not in str(refused.value)


def test_the_environment_lies_over_the_file_also_in_repeated_tables(tmp_path: Path) -> None:
    text = IQMETRIX + '[[webhooks]]\nname = "a"\n[[webhooks]]\nname = "b"\n'
    environ = {
        "HUB_IQMETRIX__PASSWORD": "from-env",
        "HUB_WEBHOOKS__1__TIMEOUT": "3s",
        "HUB_RETRY__WAITS": '["1s", 2]',
        "HUB_BROKER__URL": "amqp://u:p@h/",
    }

    settings = load(_file(tmp_path, text), environ)

    assert settings.iqmetrix[0].password.get_secret_value() == "from-env"
    assert [client.timeout for client in settings.webhooks] == [timedelta(seconds=15), timedelta(seconds=3)]
    assert settings.retry.waits == (timedelta(seconds=1), timedelta(seconds=2))


def test_a_secret_is_read_from_its_file_and_not_from_both(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("from-file\n")

    settings = load(_file(tmp_path, IQMETRIX + f'password_file = "{secret}"\n'), {})
    with pytest.raises(ConfigError, match="expected password or password_file, got both"):
        load(_file(tmp_path, IQMETRIX + f'password = "p"\npassword_file = "{secret}"\n'), {})
    with pytest.raises(ConfigError, match="password_file: cannot read"):
        load(_file(tmp_path, IQMETRIX + 'password_file = "/nowhere"\n'), {})

    assert settings.iqmetrix[0].password.get_secret_value() == "from-file"


def test_the_address_of_the_state_store_may_be_in_a_file_too(tmp_path: Path) -> None:
    secret = tmp_path / "state_url"
    secret.write_text("postgresql+asyncpg://hub:from-file@db/hub\n")

    settings = load(_file(tmp_path, ""), {"HUB_STATE__URL_FILE": str(secret)})
    with pytest.raises(ConfigError, match="expected url or url_file, got both"):
        load(
            _file(tmp_path, '[state]\nurl = "sqlite+aiosqlite:///x.db"\n'),
            {"HUB_STATE__URL_FILE": str(secret)},
        )

    assert settings.state.url == "postgresql+asyncpg://hub:from-file@db/hub"
    assert "from-file" not in repr(settings)


def test_plain_http_is_for_loopback_unless_it_is_allowed(tmp_path: Path) -> None:
    away = (IQMETRIX + 'password = "p"\n').replace("https://dropshipdemo", "http://dropshipdemo")
    near = away.replace("dropshipdemo.iqmetrix.net", "127.0.0.1:8080")

    with pytest.raises(ConfigError, match=r"iqmetrix\.0\.base_url: expected https"):
        load(_file(tmp_path, away), {})

    assert load(_file(tmp_path, near), {}).iqmetrix
    assert load(_file(tmp_path, away.replace("[iqmetrix]", "[iqmetrix]\nallow_http = true")), {}).iqmetrix


def test_an_unknown_variable_and_a_doubled_account_are_faults(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="HUB_BROKR__URL: no such setting"):
        load(_file(tmp_path, ""), {"HUB_BROKR__URL": "x"})
    with pytest.raises(ConfigError, match="webhooks: name: expected each once, got a twice"):
        load(_file(tmp_path, '[[webhooks]]\nname = "a"\n[[webhooks]]\nname = "a"\n'), {})


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("HUB_BROKR__URL", "HUB_BROKER__URL"),
        ("HUB_BROKER_URL", "HUB_BROKER__URL"),
        ("HUB_HTTP_PORT", "HUB_HTTP__PORT"),
        ("HUB_LOGLEVEL", "HUB_LOG__LEVEL"),
        ("hub_log_level", "HUB_LOG__LEVEL"),
        ("HUB_CONFG", "HUB_CONFIG"),
        ("HUB_IQMETRIX_0_PASSWORD", "HUB_IQMETRIX__PASSWORD"),
        ("HUB_STATE_URL_FILE", "HUB_STATE__URL_FILE"),
    ],
)
def test_a_variable_that_is_nearly_a_setting_is_a_fault_that_names_it(
    tmp_path: Path, variable: str, meant: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(_file(tmp_path, ""), {variable: "9090"})

    assert caught.value.faults == (f"{variable}: no such setting; did you mean {meant}?",)


def test_variables_that_a_platform_injects_are_no_settings_and_no_faults(tmp_path: Path) -> None:
    of_a_platform = {
        "HUB_PORT": "tcp://10.96.0.7:8080",
        "HUB_PORT_5672_TCP": "tcp://10.96.0.7:5672",
        "HUB_PORT_5672_TCP_ADDR": "10.96.0.7",
        "HUB_PORT_5672_TCP_PORT": "5672",
        "HUB_PORT_5672_TCP_PROTO": "tcp",
        "HUB_SERVICE_HOST": "10.96.0.7",
        "HUB_SERVICE_PORT": "8080",
        "HUB_SERVICE_PORT_HTTP": "8080",
        "HUB_HTTP_PORT": "tcp://10.96.0.8:8080",
        "HUB_BROKER_SERVICE_HOST": "10.96.0.9",
        "HUB_BROKER_PORT_5672_TCP_ADDR": "10.96.0.9",
        "HUB_HOSTNAME_OF_SOMEBODY": "x",
    }

    settings = load(_file(tmp_path, ""), of_a_platform)

    assert settings == Settings()
    assert foreign_variables(Settings, of_a_platform) == tuple(sorted(of_a_platform))


def test_no_variable_of_our_own_is_foreign(tmp_path: Path) -> None:
    ours = {"HUB_BROKER__URL": "amqp://localhost/", "HUB_TEST_BROKER": "required", "HUB_CONFIG": "hub.toml"}

    assert foreign_variables(Settings, ours) == ()


def test_a_file_that_is_no_toml_or_not_there_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not TOML"):
        load(_file(tmp_path, "[broker"), {})
    with pytest.raises(ConfigError, match="cannot read the settings file"):
        load(tmp_path / "absent.toml", {})


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("5m", 300), ("1h", 3600), ("250ms", 0.25), (2, 2), (0.5, 0.5)]
)
def test_durations_are_seconds_or_a_number_with_a_unit(
    tmp_path: Path, text: str | float, seconds: float
) -> None:
    settings = load(_file(tmp_path, f"[broker]\ndrain = {text!r}\n"), {})

    assert settings.broker.drain == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://user:hunter2@host/x", "without user and password"),
        ("http://user:hunter2@host/x", "without user and password"),
        ("https://user:hunter2@/x", "without user and password"),
        ("ftp://host/x?key=hunter2", "got 'ftp://host'"),
        ("http://host/hunter2", "got 'http://host'"),
        ("https:user:hunter2@host", "without a host"),
        ("hunter2", "without a host"),
        ("https://user:hunter2/@host", "none that can be read"),
        ("https://[hunter2", "none that can be read"),
        ("https://user:hunter2\u2100@host", "none that can be read"),
    ],
)
def test_a_fault_of_an_address_quotes_no_more_than_scheme_and_host(
    tmp_path: Path, url: str, said: str
) -> None:
    text = (IQMETRIX + 'password = "p"\n').replace("https://dropshipdemo.iqmetrix.net/v1/", url)

    with pytest.raises(ConfigError, match=f"iqmetrix.0.base_url: .*{re.escape(said)}") as refused:
        load(_file(tmp_path, text), {})

    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+asyncpg://hub:pw@db:5432/hub?ssl=require", "postgresql+asyncpg://hub:***@db:5432/hub"),
        ("postgresql+asyncpg://hub@db/hub", "postgresql+asyncpg://hub@db/hub"),
        ("postgresql+asyncpg://[::1]:5432/hub", "postgresql+asyncpg://[::1]:5432/hub"),
        ("postgresql+asyncpg://[::1]/hub", "postgresql+asyncpg://[::1]/hub"),
        ("postgresql+asyncpg:///hub?user=u&password=pw", "postgresql+asyncpg:///hub"),
        ("postgresql+asyncpg://hub:p@pw@db/hub", "postgresql+asyncpg://hub:***@db/hub"),
        ("postgresql+asyncpg://hub:p/pw@db/hub", "postgresql+asyncpg://hub:***@db/hub"),
        ("postgresql+asyncpg://hub:p?pw@db/hub", "postgresql+asyncpg://…"),
        ("postgresql+asyncpg://db/hub?password=p@pw", "postgresql+asyncpg://…"),
        ("postgresql+asyncpg://hub:pw", "postgresql+asyncpg://…"),
        ("sqlite+aiosqlite:////var/h@b.db?timeout=pw", "sqlite+aiosqlite:////var/h@b.db"),
        ("sqlite+aiosqlite:///var/hub.db", "sqlite+aiosqlite:///var/hub.db"),
    ],
)
def test_a_database_is_shown_without_its_password_and_its_query(url: str, shown: str) -> None:
    assert shown_url(url) == shown
    assert "pw" not in shown
    assert "pw" not in repr(State(url=url))


def test_what_is_no_address_of_a_database_is_not_shown() -> None:
    assert shown_url("pw") == "…"


@pytest.mark.parametrize("name", ["HUB_STATE", "HUB_WEBHOOKS"])
def test_a_variable_of_a_whole_table_that_is_no_json_is_a_fault_without_its_value(name: str) -> None:
    with pytest.raises(ConfigError, match=f'expected JSON .*"{name[4:].lower()}"') as refused:
        load(None, {name: "{hunter2"})

    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    "text",
    [
        'url = ["amqp://u:p@one/", "amqps://u:p@two:5670/v"]',
        'url = "amqp://u:p@one/,amqps://u:p@two:5670/v"',
        'url = "amqp://u:p@one/ ,  amqps://u:p@two:5670/v"',
    ],
)
def test_the_broker_may_have_several_hosts(tmp_path: Path, text: str) -> None:
    settings = load(_file(tmp_path, f"[broker]\n{text}\n"), {})

    assert settings.broker.hosts == ("amqp://u:p@one/", "amqps://u:p@two:5670/v")


def test_hosts_of_the_broker_may_come_from_the_environment_and_a_comma_may_be_in_a_password(
    tmp_path: Path,
) -> None:
    settings = load(_file(tmp_path, ""), {"HUB_BROKER__URL": "amqp://u:p,q@one/,amqp://u:p@two/"})

    assert settings.broker.hosts == ("amqp://u:p,q@one/", "amqp://u:p@two/")


@pytest.mark.parametrize("text", ['["amqp://u:p@one/", "http://u:hunter2@two/"]', '["amqp://u:p@one/", 7]'])
def test_every_host_of_the_broker_is_checked(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"broker\.url") as error:
        load(_file(tmp_path, f"[broker]\nurl = {text}\n"), {})

    assert "hunter2" not in str(error.value)


def written(folder: Path, text: str) -> Path:
    file = folder / "hub.toml"
    file.write_text(text)
    return file


def test_a_fault_names_the_line_and_the_nearest_setting(tmp_path: Path) -> None:
    file = written(
        tmp_path, '[broker]\nprefech = 3\n\n[[webhooks]]\nname = "acme"\n[webhooks.defaults]\nbrnd = "b"\n'
    )

    with pytest.raises(ConfigError) as caught:
        load(file, environ={})

    assert caught.value.faults == (
        f"broker.prefech: no such setting; did you mean prefetch? ({file}, line 2)",
        f"webhooks.0.defaults.brnd: no such setting; did you mean brand? ({file}, line 7)",
    )


def test_a_fault_of_a_variable_names_the_variable(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, "[broker]\nprefetch = 3\n"), environ={"HUB_BROKER__PREFETCH": "many"})

    (fault,) = caught.value.faults
    assert fault.startswith("broker.prefetch: ")
    assert fault.endswith(" (HUB_BROKER__PREFETCH)")


def test_a_secret_from_a_file_is_among_the_nearest_settings(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"url_fil: no such setting; did you mean url_file"):
        load(written(tmp_path, '[broker]\nurl_fil = "x"\n'), environ={})


@pytest.mark.parametrize("url", ["mysql://host/db", "hub.db", ""])
def test_an_unknown_kind_of_database_is_a_fault(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match=r"state.url: expected sqlite.*line 2"):
        load(written(tmp_path, f'[state]\nurl = "{url}"\n'), environ={})
