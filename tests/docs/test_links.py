"""Every page leads somewhere: links between pages, their anchors, and the files that they name."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\[[^\]]*\]\((?!https?:)([^)\s]+)\)")
# A path with a folder of ours in front; one with a placeholder or a pattern in it is no path.
FILE = re.compile(
    r"`((?:hub|producers|consumers|tests|bench|docs|scripts|rabbitmq|monitoring|schemas)/[\w./-]+)`"
)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def listed() -> list[str]:
    return subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.splitlines()


FILES = listed()
# The changelog names files as they were.
PAGES = [name for name in FILES if name.endswith(".md") and name != "CHANGELOG.md"]
# This page has its reader write files of a partner to come; a test of its own follows it.
NAMING = [name for name in PAGES if name != "docs/new-partner.md"]


def anchors(page: Path) -> set[str]:
    """The anchors that a forge makes of a page's headings."""
    plain = (re.sub(r"[`*]", "", heading) for heading in HEADING.findall(page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("name", PAGES)
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(name: str) -> None:
    page = ROOT / name

    broken = []
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)

    assert broken == []


@pytest.mark.parametrize("name", NAMING)
def test_every_file_that_a_page_names_is_there(name: str) -> None:
    named = FILE.findall((ROOT / name).read_text(encoding="utf-8"))

    missing = [
        path
        for path in named
        if path not in FILES and not any(file.startswith(path.rstrip("/") + "/") for file in FILES)
    ]

    assert missing == []


def test_every_decision_is_in_the_list_of_decisions() -> None:
    folder = ROOT / "docs" / "decisions"
    overview = (folder / "README.md").read_text(encoding="utf-8")

    missing = [page.name for page in folder.glob("0*.md") if f"({page.name})" not in overview]

    assert missing == []
