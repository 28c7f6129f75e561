"""The words check: which names and docstrings of the code it refuses, by the list of the glossary."""

import runpy
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
CHECK = runpy.run_path(str(CHECKOUT / "scripts" / "words.py"))
WORDS = CHECK["words_in"]((CHECKOUT / "docs" / "glossary.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "source",
    [
        "class ReplayFate: pass",
        "def bury(letter): pass",
        "def send(*, deed): pass",
        "open_pile = 1",
        "self.wall = None",
        'def size():\n    """Give the size."""',
        'async def send():\n    """Tell the partner."""',
    ],
)
def test_a_word_that_has_a_plain_one_is_refused_with_its_line(source: str) -> None:
    ((line, fault),) = CHECK["faults_in"](source, WORDS)

    assert line == 1
    assert "expected" in fault


@pytest.mark.parametrize(
    "source",
    [
        "def wallet(): pass",
        "firewall = 1",
        'def size():\n    """Return what walls give."""',
        "class Letters: pass",
    ],
)
def test_other_words_are_not(source: str) -> None:
    assert CHECK["faults_in"](source, WORDS) == []
