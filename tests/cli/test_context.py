import os
import subprocess
import sys
from pathlib import Path

from hub.cli import COMMANDS
from tests.cli.conftest import Hub


def test_every_command_of_the_table_loads_under_its_name() -> None:
    for row in COMMANDS:
        assert row.load() is not None, row.name


def test_help_lists_every_command_with_what_it_does(hub: Hub) -> None:
    result = hub("--help")

    assert result.exit_code == 0
    for row in COMMANDS:
        assert row.name in result.output


def test_help_does_not_import_the_rooms_of_the_hub() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from hub.cli import app; CliRunner().invoke(app, ['--help']);"
        "print(sorted(name for name in sys.modules if name in ('aio_pika', 'pydantic', 'sqlalchemy', 'aiohttp')))"
    )

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"


def test_wrong_settings_end_with_status_2_and_one_line_for_each_fault(hub: Hub) -> None:
    result = hub(
        "config", "check", HUB_BROKER__PREFETCH="many", HUB_HTTP__PORT="70000", HUB_WEBHOOKS__0__NAME="A b"
    )

    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert len(lines) == 3
    for key in ("broker.prefetch", "http.port", "webhooks.0.name"):
        assert any(line.startswith(f"hub: {key}: ") for line in lines)
    assert "Traceback" not in result.output


def test_a_broker_that_is_away_ends_with_status_1_and_a_sentence_without_the_password(hub: Hub) -> None:
    result = hub("topology", "verify", HUB_BROKER__URL="amqp://hub:s3cret@127.0.0.1:1/")

    assert result.exit_code == 1
    assert "is the broker running" in result.stderr
    assert "s3cret" not in result.output
    assert len(result.stderr.splitlines()) == 1


def test_an_unknown_command_ends_with_status_2(hub: Hub) -> None:
    assert hub("lettres").exit_code == 2


def test_a_settings_file_that_is_named_counts_for_this_command_only(hub: Hub, tmp_path: Path) -> None:
    before = os.environ["HUB_CONFIG"]

    result = hub("--config", str(tmp_path / "none.toml"), "config", "check")

    assert result.exit_code == 2
    assert "none.toml" in result.stderr
    assert os.environ["HUB_CONFIG"] == before


def test_help_loads_nothing_heavy() -> None:
    """What takes long to load is for commands that use it: by name, since a busy machine knows no seconds."""
    code = (
        "import sys; sys.argv = ['hub', '--help']\nfrom hub.cli import main\n"
        "try: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    )

    helped = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    loaded = set(helped.stderr.split())
    assert helped.returncode == 0
    assert "hub.cli" in loaded
    assert loaded.isdisjoint(
        {"aio_pika", "aiohttp", "alembic", "lxml", "opentelemetry", "pydantic", "sqlalchemy"}
    )
