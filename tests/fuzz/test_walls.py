"""Whatever comes in at a wall ends as a result or as an error of the hub's own, in few words."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.edits import DEEDS, LONGEST, TOKENS, Edit, edited
from tests.fuzz.walls import PART, WALLS, Wall

EDITS = st.lists(
    st.builds(
        Edit, st.sampled_from(DEEDS), st.integers(0, LONGEST), st.integers(1, 120), st.sampled_from(TOKENS)
    ),
    min_size=1,
    max_size=4,
)
SEEDS = {name: wall.seeds() for name, wall in WALLS.items()}
few = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("wall", WALLS.values(), ids=WALLS)
def test_valid_documents_pass(wall: Wall) -> None:
    for document in wall.seeds():
        wall.hold(document)


@few
@given(st.sampled_from(SEEDS["feed"]), EDITS)
def test_an_edited_page_gives_items_or_breaks_the_contract(document: bytes, edits: list[Edit]) -> None:
    WALLS["feed"].hold(edited(document, edits))


@few
@given(st.sampled_from(SEEDS["event"]), EDITS)
def test_an_edited_message_is_an_event_that_comes_back_or_is_invalid(
    document: bytes, edits: list[Edit]
) -> None:
    WALLS["event"].hold(edited(document, edits))


@few
@given(st.sampled_from(SEEDS["settings"]), EDITS)
def test_edited_settings_load_or_are_refused_by_name(document: bytes, edits: list[Edit]) -> None:
    WALLS["settings"].hold(edited(document, edits))


@few
@given(st.binary(max_size=300))
def test_a_header_table_of_any_bytes_leaves_a_message_that_can_be_set_aside(table: bytes) -> None:
    WALLS["event"].hold(PART.join((b"routing_key=order.accepted", table, b'{"order_id":"a:b:c"}')))
