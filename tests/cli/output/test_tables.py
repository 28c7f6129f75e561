"""Tables on a terminal of 80 columns: nothing is folded into a column of syllables."""

import io
from collections.abc import Sequence

from rich.console import Console

from hub.cli.output.tables import UNBOUNDED, Column, fitting, shortened

ORDER = "iqmetrix:71204:78e51061-7311-48a3-82ce-6f447ed4d57b"


def shown(columns: Sequence[Column], *rows: Sequence[str], width: int = 80, whole: bool = False) -> list[str]:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=False)
    console.print(fitting(columns, rows, title="Title", width=width, whole=whole))
    return [line.rstrip() for line in file.getvalue().splitlines()]


def test_an_id_gives_way_in_its_middle_and_numbers_stay_whole() -> None:
    columns = [Column("order id", "id"), Column("created", "number"), Column("state")]

    title, head, row = shown(columns, (ORDER, "2026-05-01 10:00:00", "partially shipped"))

    assert title == "Title"
    assert head.split() == ["order", "id", "created", "state"]
    assert "2026-05-01 10:00:00" in row
    assert "…" in row
    assert row.startswith("iqmetrix:71204:")
    assert "d57b" in row
    assert len(row) <= 80


def test_an_id_that_has_room_stays_whole() -> None:
    assert ORDER in shown([Column("id", "id"), Column("n", "number")], (ORDER, "5"))[-1]


def test_a_sentence_wraps_at_words_and_a_line_is_cut() -> None:
    sentence = "expected a sku of the order that a producer of this hub has recorded " * 2

    wrapped = shown([Column("id", "id"), Column("reason")], (ORDER, sentence))
    cut = shown([Column("at", "number"), Column("what", "line")], ("10:00:00", sentence))

    assert " ".join(" ".join(line[-20:] for line in wrapped).split()).count("sku") >= 1
    assert all(len(line) <= 80 for line in (*wrapped, *cut))
    assert len(cut) == 3
    assert cut[-1].endswith("…")


def test_shortening_keeps_both_ends() -> None:
    assert shortened("abcdefghij", 5) == "ab…ij"
    assert shortened("abc", 5) == "abc"


def test_a_wide_table_shortens_and_wraps_nothing() -> None:
    sentence = ("expected a sku of the order that a producer of this hub has recorded " * 20).strip()
    columns = [Column("id", "id"), Column("what", "line"), Column("poller", "short"), Column("reason")]

    *_, row = shown(columns, (ORDER, sentence, ORDER, sentence), width=UNBOUNDED, whole=True)

    assert row.split("  ") == [ORDER, sentence, ORDER, sentence]
