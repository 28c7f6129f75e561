"""``hub sandbox`` in a container: it listens under a name, and prints the settings that reach it from elsewhere."""

import tomllib
from pathlib import Path

from hub.config.settings import Settings
from tests.cli.conftest import Hub
from tests.ports import free_port


def test_the_settings_point_at_the_host_and_the_ports_that_were_asked_for(hub: Hub) -> None:
    port = free_port()

    told = hub("sandbox", "--host", "127.0.0.2", "--port", str(port), "--settings")

    settings = Settings(**tomllib.loads(told.stdout))
    assert told.exit_code == 0
    # Plain http beyond 127.0.0.1 is only read where it is allowed, so reading them is half of the test.
    assert settings.iqmetrix[0].base_url == f"http://127.0.0.2:{port}/v1"
    assert settings.retailops[0].base_url == f"http://127.0.0.2:{port + 1}"
    assert [client.disposition_url for client in settings.webhooks] == [
        f"http://127.0.0.2:{port + number}/dispositions" for number in (2, 3)
    ]


def test_on_this_machine_nothing_has_to_be_allowed(hub: Hub) -> None:
    told = hub("sandbox", "--settings")

    assert "allow_http" not in told.stdout
    assert Settings(**tomllib.loads(told.stdout)).retailops


def test_the_warehouse_wants_both_of_its_accounts(hub: Hub, tmp_path: Path) -> None:
    told = hub("sandbox", "--subscriber-url-file", str(tmp_path / "url"))

    assert told.exit_code == 2
    assert "--publisher-url-file together" in told.stderr
