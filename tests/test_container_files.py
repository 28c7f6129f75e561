"""Dockerfile, docker-compose.yml and what they name, read and held against each other: no engine is needed for it."""

import re
import shutil
import sqlite3
import subprocess
import tomllib
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from hub.cli import COMMANDS
from hub.config.broker import Broker
from hub.models.input.body_limits import LARGEST_BODY

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
FINAL = DOCKERFILE.split("\nFROM ")[-1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
MONITORING = ROOT / "monitoring"
IMAGE = "dropship-hub:0.1.0"
SCRIPTS = [*sorted(file for file in (ROOT / "scripts").iterdir() if file.suffix != ".py"), ROOT / "rabbitmq/start", ROOT / "postgres/create-hub", ROOT / ".ci/run"]  # fmt: skip

# The keys of a service that this file is meant to have; a misspelt one would be ignored or refused by an engine only.
KEYS = {
    "build", "cap_drop", "command", "configs", "cpus", "depends_on", "environment", "healthcheck", "hostname", "image", "init",
    "labels", "logging", "mem_limit", "networks", "pids_limit", "ports", "profiles", "read_only", "restart", "scale", "secrets", "security_opt",
    "stop_grace_period", "stop_signal", "tmpfs", "user", "volumes",
}  # fmt: skip


def copied() -> list[str]:
    """What the Dockerfile takes from the project."""
    return " ".join(re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)).split()


def mounts(service: str) -> list[tuple[str, str, str]]:
    """Source, target and mode of each volume of a service."""
    found = []
    for volume in SERVICES[service].get("volumes", ()):
        source, target, *mode = volume.split(":")
        found.append((source, target, mode[0] if mode else "rw"))
    return found


def words(command: str | list[str]) -> list[str]:
    return command.split() if isinstance(command, str) else command


# --- Dockerfile


def test_the_linter_finds_nothing_in_the_dockerfile():
    hadolint = shutil.which("hadolint", path=str(ROOT / ".venv/bin")) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed")

    told = subprocess.run([hadolint, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)

    assert told.stdout + told.stderr == ""


def test_the_compose_file_meets_the_public_schema_and_a_misspelt_key_would_not(tmp_path: Path):
    dclint = ROOT / "tests/foreign/node_modules/.bin/dclint"
    if shutil.which("node") is None or not dclint.exists():
        pytest.skip("expected dclint, found none; scripts/test-tools fetches it")

    def errors(file: Path) -> str:
        told = subprocess.run([dclint, "--quiet", str(file)], capture_output=True, text=True, check=False)
        return told.stdout + told.stderr if told.returncode else ""

    misspelt = tmp_path / "docker-compose.yml"
    misspelt.write_text(
        (ROOT / "docker-compose.yml")
        .read_text(encoding="utf-8")
        .replace("    image: rabbitmq", "    imagine: rabbitmq"),
        encoding="utf-8",
    )

    assert errors(ROOT / "docker-compose.yml") == ""
    assert "/services/rabbitmq" in errors(misspelt)


def test_both_stages_come_from_one_base_that_is_pinned_by_tag():
    base = re.findall(r"^ARG PYTHON=(\S+)$", DOCKERFILE, re.MULTILINE)

    assert re.fullmatch(r"python:3\.\d+-slim-[a-z]+", base[0])
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${PYTHON}", "${PYTHON}"]
    assert f'image.base.name="docker.io/library/{base[0]}"' in FINAL


def test_everything_that_is_copied_is_there_and_nothing_else_is_sent_to_the_builder():
    sent = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)

    assert [name for name in copied() if not (ROOT / name).exists()] == []
    assert sorted(sent) == sorted(copied())


def test_the_image_runs_as_a_number_that_is_not_root_and_tells_whether_it_lives():
    assert re.findall(r"^USER (\S+)$", FINAL, re.MULTILINE) == ["10001:10001"]
    assert re.search(r"^HEALTHCHECK .+\n +CMD \[.+/livez.+\]$", FINAL, re.MULTILINE)
    assert re.search(r"^STOPSIGNAL SIGTERM$", FINAL, re.MULTILINE)


def test_nothing_is_installed_or_compiled_in_the_final_stage():
    ran = re.findall(r"^RUN (.+(?:\\\n.+)*)", FINAL, re.MULTILINE)

    assert not re.search(r"\b(pip|apt-get|apt|gcc|make|curl|wget)\b", " ".join(ran))
    # Everywhere else: packages by hash and as wheels, so that no stage needs a compiler.
    said = re.sub(r"^ *#.*$", "", DOCKERFILE, flags=re.MULTILINE)
    steps = re.split(r"&&|\n\n", said)
    fetching = [step for step in steps if re.search(r"pip .*install", step) and "--no-index" not in step]
    assert len(fetching) == 2
    assert all("--require-hashes" in fetch and "--only-binary :all:" in fetch for fetch in fetching)


def test_the_label_of_the_version_is_the_version_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert f'image.version="{project["version"]}"' in FINAL
    assert f"{project['name']}:{project['version']}" == IMAGE


def test_the_lock_of_the_image_is_a_part_of_the_lock_that_is_tested():
    def pinned(lock: str) -> set[str]:
        text = (ROOT / lock).read_text(encoding="utf-8")
        return set(re.findall(r"^\S+==\S+|sha256:[0-9a-f]{64}", text, re.MULTILINE))

    assert pinned("requirements-run.lock") < pinned("requirements.lock")
    assert not [
        pin for pin in pinned("requirements-run.lock") if pin.startswith(("mypy=", "pytest", "ruff="))
    ]


# --- docker-compose.yml: what it names exists


def test_compose_itself_accepts_the_file():
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("docker compose is not installed")

    told = subprocess.run(
        [
            docker,
            "compose",
            "--profile",
            "*",
            "--file",
            str(ROOT / "docker-compose.yml"),
            "config",
            "--quiet",
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert told.returncode == 0, told.stderr


def test_every_key_of_a_service_is_one_that_is_meant():
    assert {key for service in SERVICES.values() for key in service} <= KEYS
    assert set(COMPOSE) - {"x-hardened", "x-hub"} == {
        "name", "services", "networks", "volumes", "configs", "secrets",
    }  # fmt: skip


def test_every_image_is_pinned_to_a_version():
    images = {service["image"] for service in SERVICES.values()}

    assert IMAGE in images
    assert [image for image in images if not re.fullmatch(r"[a-z/-]+:v?\d[\w.-]*", image)] == []


@pytest.mark.parametrize("kind", ["secrets", "configs", "networks", "volumes"])
def test_everything_that_a_service_takes_is_defined_and_nothing_else(kind: str):
    taken = set()
    for name, service in SERVICES.items():
        if kind == "volumes":
            taken |= {source for source, _, _ in mounts(name) if not source.startswith(".")}
        else:
            taken |= {item["source"] if isinstance(item, dict) else item for item in service.get(kind, ())}

    assert taken == set(COMPOSE[kind])


def test_every_service_that_is_waited_for_can_say_that_it_is_well():
    for service in SERVICES.values():
        for name, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}
            assert "healthcheck" in SERVICES[name]


def test_every_mounted_file_is_in_the_repository_or_made_below_var():
    sources = {source for name in SERVICES for source, _, _ in mounts(name) if source.startswith(".")}

    elsewhere = ("./var/",)
    assert [
        source for source in sources if not source.startswith(elsewhere) and not (ROOT / source).exists()
    ] == []
    made = {source for source in sources if source.startswith("./var/")}
    made |= {item["file"] for item in COMPOSE["configs"].values()}
    assert made == {"./var/compose/definitions.json", "./var/compose/hub.toml", "./var/secrets/partners"}


def test_the_broker_finds_its_files_where_they_are_mounted():
    conf = (ROOT / "rabbitmq/rabbitmq.conf").read_text(encoding="utf-8")
    targets = {target for _, target, _ in mounts("rabbitmq")}

    assert set(re.findall(r"^load_definitions = (\S+)$", conf, re.MULTILINE)) <= targets
    assert SERVICES["rabbitmq"]["command"][-1] in targets
    plugins = (ROOT / "rabbitmq/enabled_plugins").read_text(encoding="utf-8")
    assert "rabbitmq_prometheus" in plugins


def test_the_broker_has_the_size_limit_of_the_hub() -> None:
    conf = (ROOT / "rabbitmq/rabbitmq.conf").read_text(encoding="utf-8")

    assert f"\nmax_message_size = {LARGEST_BODY}\n" in conf


def test_every_command_is_one_of_the_hub():
    entry = re.findall(r'^ENTRYPOINT \["(\w+)"\]\nCMD \["(\w+)"\]$', FINAL, re.MULTILINE)
    commands = {
        name: words(service["command"]) for name, service in SERVICES.items() if service["image"] == IMAGE
    }

    assert entry == [("hub", "run")]
    assert {command[0] for command in commands.values()} <= {command.name for command in COMMANDS}
    assert commands["producers"][:2] == ["run", "producers"]
    assert commands["consumers"][:2] == ["run", "consumers"]


# --- docker-compose.yml: what it promises


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_writes_to_volumes_only_and_nobody_in_it_is_or_becomes_root(name: str):
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & set(service)
    assert service["image"] == IMAGE or service["user"].split(":")[0] not in ("root", "0")
    assert all(mode == "ro" for source, _, mode in mounts(name) if source.startswith("."))
    assert not any("docker.sock" in source for source, _, _ in mounts(name))


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_comes_back_is_bounded_and_is_looked_after(name: str):
    service = SERVICES[name]

    assert service["restart"] == "unless-stopped"
    assert "mem_limit" in service
    assert 0 < service["pids_limit"] <= 1024
    # Docker refuses a limit above what the machine has, so each begins with one processor.
    assert re.fullmatch(r"1\.0|\$\{[A-Z]+_CPUS:-1\.0\}", str(service["cpus"]))
    # The image of the hub brings its own, which the simulated partners have no use for.
    assert "healthcheck" in service or service["image"] == IMAGE
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_no_password_is_in_the_environment_or_in_a_command():
    for service in SERVICES.values():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|URL|KEY", variable):
                assert variable.endswith("_FILE")
                assert value.startswith("/run/secrets/")


def test_the_grace_period_of_the_hub_is_longer_than_its_drain():
    drain = Broker().drain.total_seconds()

    for name in ("producers", "consumers"):
        assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > drain + 5


def test_the_state_store_is_reached_by_the_hub_alone():
    inside = {name for name, service in SERVICES.items() if "state" in service["networks"]}

    assert inside == {"postgres", "producers", "consumers"}
    assert COMPOSE["networks"]["state"]["internal"] is True


def test_what_is_scraped_is_a_service_that_can_be_reached_and_what_is_mounted_is_there():
    scraped = yaml.safe_load((MONITORING / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    targets = {target for job in scraped for static in job["static_configs"] for target in static["targets"]}

    hub = {f"{name}:{SERVICES[name]['environment']['HUB_HTTP__PORT']}" for name in ("producers", "consumers")}
    assert targets == {*hub, "rabbitmq:15692"}
    for target in targets:
        assert "monitoring" in SERVICES[target.partition(":")[0]]["networks"]
    for name in ("prometheus", "grafana"):
        assert [
            source for source, _, _ in mounts(name) if source.startswith(".") and not (ROOT / source).exists()
        ] == []


# --- the page about it


def test_every_command_of_the_deployment_page_names_something_that_is_there():
    page = (ROOT / "docs/deployment.md").read_text(encoding="utf-8")
    code = "\n".join(
        re.findall(r"^```sh\n(.*?)^```", page, re.DOTALL | re.MULTILINE) + re.findall(r"`([^`\n]+)`", page)
    )
    code = re.sub(r"#.*", "", code)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    services = set(re.findall(r"docker compose (?:exec|run)(?: -\S+)* (\w+)", code))
    services |= set(re.findall(r"docker compose (?:build|pull|stop|logs --follow) (\w+)", code))
    hub = set(re.findall(r"(?:\bhub|no-deps (?:producers|consumers)) ([a-z]+)\b", code))

    assert services == {"consumers", "producers", "postgres", "rabbitmq"}
    assert (
        {"config", "cursor", "doctor", "letters", "orders", "topology"}
        == hub
        <= {command.name for command in COMMANDS}
    )
    for target in re.findall(r"\bmake ([a-z-]+)", code):
        assert f"\n{target}:" in makefile
    for name in re.findall(r"\bscripts/[a-z-]+", code):
        assert (ROOT / name).exists()


def test_the_documented_backup_of_sqlite_is_for_its_owner_alone(tmp_path: Path):
    page = (ROOT / "docs/deployment.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if "sqlite3.connect" in line]
    (tmp_path / "var").mkdir()
    with closing(sqlite3.connect(tmp_path / "var/hub.db")) as store, store:
        store.execute("CREATE TABLE orders (id TEXT)")

    for line in lines:
        subprocess.run(["sh", "-c", f"umask 022; {line}"], cwd=tmp_path, check=True)

    assert len(lines) == 1
    assert (tmp_path / "backup.db").stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(tmp_path / "backup.db")) as copy:
        assert copy.execute("SELECT count(*) FROM orders").fetchone() == (0,)


# --- scripts


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_is_shell_that_can_be_read(script: Path):
    told = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, check=False)

    assert told.stderr == ""
    shellcheck = shutil.which("shellcheck") or shutil.which("shellcheck", path=str(ROOT / ".tools/usr/bin"))
    if shellcheck is not None:
        linted = subprocess.run([shellcheck, str(script)], capture_output=True, text=True, check=False)
        assert linted.stdout == ""
