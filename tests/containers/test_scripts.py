"""``make up`` and ``make down`` with a stand-in for docker: what they write, what they ask of it, in which order."""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).parents[2]
ACCEPTING = "--accept-empty-state"

# Notes each call with the options for the hub, and answers as far as the scripts look at the answer. `broken` names a
# call that fails.
DOCKER = """\
#!/usr/bin/env bash
here=$(dirname "$0")
echo "$* [${HUB_RUN_OPTIONS:-}] [${COMPOSE_PROFILES:-}]" >>"$here/calls"
if [ -e "$here/broken" ] && [[ "$*" == $(cat "$here/broken")* ]]; then exit 1; fi
case "$*" in
    *" --settings") echo '# simulated' ;;
    *" topology export") echo '{}' ;;
esac
"""


@dataclass(frozen=True)
class Desk:
    """A copy of the scripts, and a docker that only takes notes."""

    folder: Path

    @property
    def docker(self) -> Path:
        return self.folder / "bin"

    def __call__(self, script: str) -> subprocess.CompletedProcess[str]:
        (self.docker / "calls").write_text("")
        return subprocess.run(
            [self.folder / "scripts" / script],
            env={"PATH": f"{self.docker}:/usr/bin:/bin", "READY_WITHIN": "0"},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def calls(self, beginning: str) -> list[str]:
        lines = (self.docker / "calls").read_text().splitlines()
        return [line for line in lines if line.startswith(beginning)]

    def breaks(self, call: str | None) -> None:
        (self.docker / "broken").unlink(missing_ok=True)
        if call is not None:
            (self.docker / "broken").write_text(call)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    shutil.copytree(PROJECT / "scripts", tmp_path / "scripts")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/docker").write_text(DOCKER)
    (tmp_path / "bin/docker").chmod(0o755)
    return Desk(tmp_path)


# --- up and down


def test_no_start_accepts_an_empty_store_by_itself(desk: Desk) -> None:
    first, again = desk("up"), desk("up")

    assert (first.returncode, again.returncode) == (0, 0), first.stderr
    assert [ACCEPTING in call for call in desk.calls("compose up")] == [False]


def test_without_settings_the_partners_are_simulated(desk: Desk) -> None:
    told = desk("up")

    assert "the partners are simulated" in told.stdout
    assert (desk.folder / "var/compose/hub.toml").read_text() == "# simulated\n"
    assert all("[sandbox]" in call for call in desk.calls("compose up"))


def test_settings_are_handed_on_and_their_faults_stop_everything(desk: Desk) -> None:
    (desk.folder / "hub.toml").write_text("# mine\n")
    (desk.folder / "hub.toml").chmod(0o600)

    assert desk("up").returncode == 0
    handed = desk.folder / "var/compose/hub.toml"
    assert handed.read_text() == "# mine\n"
    assert handed.stat().st_mode & 0o777 == 0o444
    assert handed.parent.stat().st_mode & 0o777 == 0o700
    assert all("[sandbox]" not in call for call in desk.calls("compose up"))

    desk.breaks("compose run --rm --no-deps -T consumers config check")
    told = desk("up")
    assert told.returncode == 1
    assert told.stderr == "the settings have faults: correct hub.toml, then make up again\n"
    assert desk.calls("compose up") == []


def test_files_of_a_strict_checkout_are_opened_for_the_containers_that_read_them(desk: Desk) -> None:
    conf = desk.folder / "rabbitmq/rabbitmq.conf"
    conf.parent.mkdir(mode=0o700)
    conf.write_text("")
    conf.chmod(0o600)

    assert desk("up").returncode == 0

    assert (conf.stat().st_mode & 0o777, conf.parent.stat().st_mode & 0o777) == (0o644, 0o755)


def test_a_running_container_keeps_its_view_of_a_file_that_changed(desk: Desk) -> None:
    def inode() -> int:
        return (desk.folder / "var/compose/hub.toml").stat().st_ino

    desk("up")
    before = inode()
    (desk.folder / "hub.toml").write_text("# mine\n")
    desk("up")

    assert inode() == before


def test_a_hub_that_does_not_get_ready_is_named_with_where_to_look(desk: Desk) -> None:
    desk.breaks("compose exec -T consumers")

    told = desk("up")

    assert told.returncode == 1
    assert "consumers: not ready" in told.stderr
    assert "docker compose logs consumers" in told.stderr


def test_down_stops_every_profile_and_keeps_the_volumes(desk: Desk) -> None:
    assert desk("down").returncode == 0

    (call,) = desk.calls("compose --profile")
    assert call.startswith("compose --profile * down --remove-orphans")
    assert "-v" not in call.split()


@pytest.mark.parametrize("script", ["up", "down"])
@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (None, "docker is missing"),
        ("compose version", "docker has no compose plugin"),
        ("info", "no Docker engine answers"),
    ],
)
def test_without_an_engine_one_line_says_what_is_missing(
    desk: Desk, script: str, broken: str | None, says: str
) -> None:
    if broken is None:
        if shutil.which("docker", path="/usr/bin:/bin"):
            pytest.skip("docker is in a place that this test needs without it")
        (desk.docker / "docker").unlink()
    desk.breaks(broken)

    told = desk(script)

    assert told.returncode == 1
    assert told.stdout == ""
    assert told.stderr.startswith(says)
    assert told.stderr.count("\n") == 1
    assert not (desk.folder / "var").exists()


# --- secrets


@pytest.fixture
def secrets(desk: Desk) -> Callable[[], dict[str, str]]:
    def make() -> dict[str, str]:
        assert desk("make-secrets").returncode == 0
        folder = desk.folder / "var/secrets"
        return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}

    return make


def test_secrets_are_random_each_its_own_and_what_the_compose_file_mounts(
    secrets: Callable[[], dict[str, str]],
) -> None:
    made = secrets()

    compose = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
    assert {f"./var/secrets/{name}" for name in made} == {
        item["file"] for item in compose["secrets"].values()
    }
    passwords = [value for name, value in made.items() if name.endswith("_password")]
    assert len(set(passwords)) == len(passwords)
    assert all(len(password) == 48 and password.isalnum() for password in passwords)
    assert made["broker_url"] == f"amqp://hub:{made['hub_password']}@rabbitmq:5672/"
    assert made["publisher_url"] == f"amqp://publisher:{made['publisher_password']}@rabbitmq:5672/"
    assert made["state_url"] == f"postgresql+asyncpg://hub:{made['state_password']}@postgres:5432/hub"


def test_a_secret_that_is_there_is_never_changed_and_a_missing_one_comes_back(
    desk: Desk, secrets: Callable[[], dict[str, str]]
) -> None:
    before = secrets()
    assert secrets() == before

    (desk.folder / "var/secrets/grafana_password").unlink()
    after = secrets()

    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == {"grafana_password"}


def test_the_folder_is_for_its_owner_and_each_container_can_read_what_is_mounted_for_it(
    desk: Desk, secrets: Callable[[], dict[str, str]]
) -> None:
    made = secrets()
    folder = desk.folder / "var/secrets"
    partner = folder / "partners/iqmetrix_password"
    partner.write_text("x")
    partner.chmod(0o600)
    secrets()

    assert folder.stat().st_mode & 0o777 == 0o700
    assert {(folder / name).stat().st_mode & 0o777 for name in made} == {0o444}
    assert partner.stat().st_mode & 0o044 == 0o044
    assert partner.parent.stat().st_mode & 0o055 == 0o055


def test_make_itself_says_what_is_missing_here() -> None:
    """On a machine with an engine this would start containers, so it is asked of one without."""
    if not subprocess.run([PROJECT / "scripts/engine"], capture_output=True, check=False).returncode:
        pytest.skip("an engine answers here")

    told = subprocess.run(
        ["make", "up"], cwd=PROJECT, env=os.environ, capture_output=True, text=True, check=False
    )

    assert told.returncode != 0
    assert "docker" in told.stderr.lower().splitlines()[0]
