"""What the Dockerfile builds, without an engine: the same sources give the same wheel, whenever they were checked out."""

import os
import re
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

PROJECT = Path(__file__).parents[2]
DOCKERFILE = (PROJECT / "Dockerfile").read_text(encoding="utf-8")


def build(folder: Path, dated: int) -> bytes:
    """The wheel of sources that carry this date, by the backend that ``pip wheel`` calls, without pip's seconds."""
    folder.mkdir()
    assert "pip wheel --no-deps --no-build-isolation" in DOCKERFILE
    (files,) = re.findall(r"^COPY (pyproject.toml .+) \./$", DOCKERFILE, re.MULTILINE)
    (epoch,) = re.findall(r"^ARG SOURCE_DATE_EPOCH=(\d+)$", DOCKERFILE, re.MULTILINE)
    for name in files.split():
        shutil.copy(PROJECT / name, folder)
    for name in re.findall(r"^COPY (\w+) \1$", DOCKERFILE, re.MULTILINE):
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in folder.rglob("*"):
        os.utime(path, (dated, dated))
    backend = "from setuptools.build_meta import build_wheel; build_wheel('wheels')"
    environ = {**os.environ, "SOURCE_DATE_EPOCH": epoch}
    subprocess.run([sys.executable, "-c", backend], cwd=folder, env=environ, check=True, capture_output=True)
    (wheel,) = (folder / "wheels").glob("*.whl")
    return wheel.read_bytes()


def test_the_same_sources_give_the_same_wheel(tmp_path: Path) -> None:
    first = build(tmp_path / "first", 1_700_000_000)
    second = build(tmp_path / "second", 1_800_000_000)

    assert sha256(first).digest() == sha256(second).digest()
