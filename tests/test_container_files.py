"""Dockerfile, docker-compose.yml and their lock, read line by line: no engine and no YAML reader is needed for it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from hub.cli import COMMANDS

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")


def test_every_image_has_a_tag_that_is_not_latest():
    images = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    images += re.findall(r"^ +image: (\S+)", COMPOSE, re.MULTILINE)

    assert len(images) == 4
    assert [image for image in images if not re.fullmatch(r"[a-z/-]+:\d[\w.-]*", image)] == []


def test_every_file_that_is_mounted_or_copied_is_in_the_repository():
    mounted = re.findall(r"^ +- \./([^:]+):[^:]+:ro$", COMPOSE, re.MULTILINE)
    copied = [
        name
        for names in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
        for name in names.split()
    ]

    assert len(mounted) == 5
    assert len(copied) == 7
    assert [name for name in (*mounted, *copied) if not (ROOT / name).exists()] == []


def test_every_file_that_is_copied_is_sent_to_the_builder():
    sent = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    copied = " ".join(re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)).split()

    assert sorted(sent) == sorted(copied)


def test_every_command_is_one_of_the_hub():
    entry = re.findall(r'^ENTRYPOINT \["(\w+)"\]\nCMD \["(\w+)"\]$', DOCKERFILE, re.MULTILINE)
    commands = re.findall(r"^    <<: \*hub\n    command: (.+)$", COMPOSE, re.MULTILINE)

    assert entry == [("hub", "run")]
    assert commands == ["run producers ${HUB_RUN_OPTIONS:-}", "run consumers ${HUB_RUN_OPTIONS:-}"]
    assert "run" in {command.name for command in COMMANDS}


def test_every_secret_that_a_service_takes_is_defined():
    taken = re.findall(
        r"^ +- (\w+)$",
        "".join(re.findall(r"^ +secrets:\n((?: +- \w+\n)+)", COMPOSE, re.MULTILINE)),
        re.MULTILINE,
    )
    defined = re.findall(r"^  (\w+):\n    file: \$\{HUB_SECRETS:-[^}]+\}/\1$", COMPOSE, re.MULTILINE)

    assert sorted(taken) == sorted(defined)


def test_the_image_runs_as_its_own_user_and_tells_whether_it_lives():
    final = DOCKERFILE.split("\nFROM ")[-1]

    assert re.search(r"^USER hub$", final, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK .+\n +CMD .+/livez", final, re.MULTILINE)
    assert re.search(r"^STOPSIGNAL SIGTERM$", final, re.MULTILINE)
    assert "pip install" not in final


def test_the_lock_of_the_image_is_a_part_of_the_lock_that_is_tested():
    def pinned(lock: str) -> set[str]:
        text = (ROOT / lock).read_text(encoding="utf-8")
        return set(re.findall(r"^\S+==\S+|sha256:[0-9a-f]{64}", text, re.MULTILINE))

    assert pinned("requirements-run.lock") < pinned("requirements.lock")
    assert not [
        pin for pin in pinned("requirements-run.lock") if pin.startswith(("mypy=", "pytest", "ruff="))
    ]


def test_the_broker_loads_the_definitions_that_are_mounted():
    conf = (ROOT / "rabbitmq" / "rabbitmq.conf").read_text(encoding="utf-8")

    loaded = re.findall(r"^load_definitions = (\S+)$", conf, re.MULTILINE)

    assert [f"./rabbitmq/definitions.json:{path}:ro" in COMPOSE for path in loaded] == [True]


def test_compose_itself_accepts_the_file():
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("docker compose is not installed")

    told = subprocess.run(
        [docker, "compose", "--file", str(ROOT / "docker-compose.yml"), "config", "--quiet"],
        capture_output=True,
        text=True,
    )

    assert told.returncode == 0, told.stderr
