"""Other people's software against the hub. Everything here that asks for ``broker_url`` needs a real RabbitMQ.

A foreign program that is missing skips its tests, and fails them where HUB_TEST_FOREIGN=required says that it must be
there. ``scripts/test-tools`` fetches them.
"""

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).parents[2]
FOREIGN = ROOT / "tests" / "foreign"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and "broker_url" in getattr(
            item, "fixturenames", ()
        ):
            item.add_marker(pytest.mark.broker)


@pytest.fixture(scope="session")
def tools() -> dict[str, str]:
    """The environment in which `amqp-publish` is found: unpacked below .tools, or installed."""
    unpacked = ROOT / ".tools" / "usr"
    libraries = [str(path) for path in unpacked.glob("lib/*-linux-gnu")]
    found = {
        "PATH": os.pathsep.join((str(unpacked / "bin"), os.environ["PATH"])),
        "LD_LIBRARY_PATH": os.pathsep.join((*libraries, os.environ.get("LD_LIBRARY_PATH", ""))).strip(
            os.pathsep
        ),
    }
    if shutil.which("amqp-publish", path=found["PATH"]) is None:
        _missing("expected amqp-publish (amqp-tools), found none; scripts/test-tools fetches it")
    return found


@pytest.fixture(scope="session")
def node_js() -> str:
    """The node program, with the packages of tests/foreign installed."""
    program = shutil.which("node")
    if program is None:
        _missing("expected node, found none on the PATH; install Node.js 20 or later")
    if not (FOREIGN / "node_modules" / "amqplib").is_dir():
        _missing("expected the npm packages of tests/foreign, found none; scripts/test-tools installs them")
    return program


def _missing(sentence: str) -> NoReturn:
    if os.environ.get("HUB_TEST_FOREIGN") == "required":
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)
