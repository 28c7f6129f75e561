"""The audit says what it found, and is not green where nothing was audited. Its tools are doubles: no network."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# What pip-audit does, by source: found nothing, found something (a list on disk, status 1), or could not ask (no list).
TOOL = """#!/bin/sh
while [ $# -gt 0 ]; do
    case $1 in
    --vulnerability-service) source=$2 ;;
    --output) output=$2 ;;
    esac
    shift
done
case $source in
%s
esac
"""
CLEAN = "exit 0"
FOUND = "echo 'aiohttp 3.12.0 CVE-2026-1 3.12.1' >$output; exit 1"
AWAY = "echo 'ERROR: name not resolved' >&2; exit 1"


def audit(folder: Path, **answers: str) -> subprocess.CompletedProcess[str]:
    tools = folder / ".venv-audit/bin"
    tools.mkdir(parents=True)
    (folder / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/audit", folder / "scripts")
    by_source = "\n".join(f"{source}) {does} ;;" for source, does in answers.items())
    programs = {
        folder / "scripts/audit-tools": "#!/bin/sh\n",
        tools / "cyclonedx-py": "#!/bin/sh\n",
        tools / "pip-audit": TOOL % by_source,
    }
    for program, text in programs.items():
        program.write_text(text)
        program.chmod(0o755)
    return subprocess.run([folder / "scripts/audit"], capture_output=True, text=True, check=False)


def test_an_audit_that_found_nothing_ends_with_0(tmp_path: Path) -> None:
    ended = audit(tmp_path, pypi=CLEAN)

    assert ended.returncode == 0
    assert ended.stdout.splitlines()[-1] == "pypi: no known advisory for any package of requirements.lock"


def test_an_audit_that_found_something_ends_with_1_and_names_it(tmp_path: Path) -> None:
    ended = audit(tmp_path, pypi=FOUND, osv=CLEAN)

    assert ended.returncode == 1
    assert "aiohttp 3.12.0 CVE-2026-1 3.12.1" in ended.stdout


def test_a_source_that_is_away_is_said_and_the_next_one_asked(tmp_path: Path) -> None:
    ended = audit(tmp_path, pypi=AWAY, osv=CLEAN)

    assert ended.returncode == 0
    assert ended.stderr == "pypi: not audited: ERROR: name not resolved\n"


@pytest.mark.parametrize("last", [AWAY, "exit 1"])
def test_an_audit_without_any_source_is_not_green(tmp_path: Path, last: str) -> None:
    ended = audit(tmp_path, pypi=AWAY, osv=last)

    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].endswith("nothing was audited")
