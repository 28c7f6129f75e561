"""The ledger of partner calls, and the last reported states, as SQL operations (see ``EffectStore``, ``ReportedStateStore``).

Claims of effects that nobody else wants, which are nearly all, are taken with two statements however many they are. What
writes here runs in a write transaction, one at a time among all processes, so what it reads holds until it has written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, insert, literal_column, select, update
from sqlalchemy.dialects.sqlite import Insert
from sqlalchemy.sql.dml import ReturningInsert

from hub.models.frozen import value
from hub.state.engine.bulk_insert import insert_rows
from hub.state.engine.transaction_clock import now
from hub.state.engine.upsert import insert_into
from hub.state.event_identity import is_other_content
from hub.state.protocols import Claim, ClaimState
from hub.state.schema import effects, told
from hub.state.sql.processes import is_free

CLAIMED = "claimed"
TRAVELLING = "travelling"
DONE = "done"

_FIND = select(
    effects.c.state,
    effects.c.holder,
    effects.c.until,
    effects.c.note,
    effects.c.travels_since,
    effects.c.content,
).where(effects.c.key == bindparam("of_key"))

_KNOWN = select(effects.c.key, effects.c.content).where(
    effects.c.key.in_(bindparam("of_keys", expanding=True))
)
_ADD = insert(effects)
# With a content, be it empty: without one, an older release has written the row.
_COLUMNS = ("key", "state", "holder", "until", "note", "at", "content")

_CLAIMS = select(effects.c.holder, effects.c.until).where(
    effects.c.key.in_(bindparam("of_keys", expanding=True)), effects.c.state == CLAIMED
)

_TAKE_OVER = (
    update(effects)
    .where(effects.c.key == bindparam("of_key"))
    .values(state=CLAIMED, holder=bindparam("holder"), until=bindparam("until"), at=bindparam("at"))
)

_OURS = (
    effects.c.key == bindparam("of_key"),
    effects.c.state == CLAIMED,
    effects.c.holder == bindparam("of_holder"),
)
_RELEASE = delete(effects).where(*_OURS, effects.c.travels_since.is_(None))
_TRAVEL_ON = (
    update(effects).where(*_OURS).values(state=TRAVELLING, holder=None, until=None, at=bindparam("at"))
)

_TOLD = select(told.c.view).where(
    told.c.partner == bindparam("of_partner"), told.c.order_id == bindparam("of_order")
)


@value(frozen=True, slots=True)
class Claiming:
    """What ``EffectStore.claim_effect`` is asked."""

    key: str
    holder: str
    lease: timedelta
    apart_from: tuple[str, ...] = ()
    carried: bool = False
    key_before: str = ""
    content: str | None = None


def claim_effects(connection: Connection, claimings: Sequence[Claiming]) -> Sequence[Claim]:
    """Take the right to make each call once; see ``EffectStore.claim_effect``.

    What nobody has wanted before is taken together; the rest is looked at one by one.
    """
    moment = now(connection)
    asked = [claiming for claiming in claimings if claiming.key_before or not claiming.apart_from]
    keys = {key for claiming in asked for key in (claiming.key, claiming.key_before) if key}
    found = connection.execute(_KNOWN, {"of_keys": list(keys)}).all() if keys else ()
    known = {row.key for row in found}
    of_before = {row.key for row in found if row.content is None}
    claimings = [
        replace(claiming, key=claiming.key_before)
        if claiming.key_before in of_before and claiming.key not in known
        else claiming
        for claiming in claimings
    ]
    # The first of several that want the same: the others find its row.
    first = {claiming.key: claiming for claiming in reversed(claimings) if not claiming.apart_from}
    new = {key: claiming for key, claiming in first.items() if key not in known}
    rows = [
        (key, CLAIMED, claiming.holder, moment + claiming.lease, "", moment, claiming.content or "")
        for key, claiming in new.items()
    ]
    insert_rows(connection, _ADD, _COLUMNS, rows)
    return [
        Claim(ClaimState.GRANTED, until=moment + claiming.lease, key=claiming.key)
        if new.get(claiming.key) is claiming
        else replace(_claim_effect(connection, claiming, moment), key=claiming.key)
        for claiming in claimings
    ]


def record_effects(connection: Connection, records: Sequence[tuple[str, str]]) -> Sequence[None]:
    """Record that the effects of these keys are there, with their notes; what was recorded first stays."""
    moment = now(connection)
    # The first of several for one key; a statement cannot meet a row twice.
    notes = dict(reversed(records))
    rows = [(key, DONE, None, None, note, moment, "") for key, note in notes.items()]
    insert_rows(connection, _record(connection.dialect.name), _COLUMNS, rows)
    return [None] * len(records)


def release_effect(connection: Connection, key: str, holder: str) -> None:
    """Release our claim; one that is done or another's stays."""
    ours = {"of_key": key, "of_holder": holder}
    if not connection.execute(_RELEASE, ours).rowcount:
        connection.execute(_TRAVEL_ON, {**ours, "at": now(connection)})


def delegate_effect(connection: Connection, key: str) -> None:
    """Record that a stored copy carries the effect on; a claim that is held stays, and so does what is done."""
    moment = now(connection)
    row = {"key": key, "state": TRAVELLING, "holder": None, "until": None, "note": "", "at": moment}
    row["content"] = ""
    connection.execute(_hand_on(connection.dialect.name), {**row, "travels_since": moment})


def told_about(connection: Connection, partner: str, order_id: str) -> Mapping[str, Any] | None:
    """Return what was recorded last, or None."""
    found: Mapping[str, Any] | None = connection.scalar(_TOLD, {"of_partner": partner, "of_order": order_id})
    return found


def tell(
    connection: Connection, partner: str, order_id: str, view: Mapping[str, Any], *, awaits_echo: bool = False
) -> None:
    """Record what the partner was told, and whether its feed is expected to show it."""
    moment = now(connection)
    row = {
        "partner": partner,
        "order_id": order_id,
        "view": dict(view),
        "at": moment,
        "echo_awaited_since": moment if awaits_echo else None,
    }
    connection.execute(_tell(connection.dialect.name), row)


def _claim_row(claiming: Claiming, moment: datetime) -> dict[str, Any]:
    until = moment + claiming.lease
    return {
        "key": claiming.key,
        "state": CLAIMED,
        "holder": claiming.holder,
        "until": until,
        "note": "",
        "at": moment,
        "content": claiming.content or "",
    }


def _claim_effect(connection: Connection, claiming: Claiming, moment: datetime) -> Claim:
    key, holder, until = claiming.key, claiming.holder, moment + claiming.lease
    if claiming.apart_from:
        for other in connection.execute(_CLAIMS, {"of_keys": list(claiming.apart_from)}).all():
            if not is_free(connection, other.holder, other.until, by=holder):
                return Claim(ClaimState.BUSY, until=other.until)
    if claiming.content:
        kept = connection.execute(_FIND, {"of_key": key}).first()
        if kept is not None and is_other_content(claiming.content, kept.content):
            return Claim(ClaimState.OTHER)
    if connection.scalars(_claim(connection.dialect.name), _claim_row(claiming, moment)).first() is not None:
        return Claim(ClaimState.GRANTED, until=until)
    found = connection.execute(_FIND, {"of_key": key}).one()
    if found.state == DONE:
        return Claim(ClaimState.DONE, note=found.note)
    if found.travels_since is not None and not claiming.carried:
        return Claim(ClaimState.TRAVELLING)
    if found.state == TRAVELLING or is_free(connection, found.holder, found.until, by=holder):
        connection.execute(_TAKE_OVER, {"of_key": key, "holder": holder, "until": until, "at": moment})
        return Claim(ClaimState.GRANTED, until=until)
    return Claim(ClaimState.BUSY, until=found.until)


@cache
def _claim(dialect: str) -> ReturningInsert[str]:
    insert = insert_into(effects, dialect)
    new = insert.excluded
    return insert.on_conflict_do_update(
        index_elements=[effects.c.key],
        set_={"holder": new.holder, "until": new.until, "at": new.at},
        # "at" of the new row is now.
        where=and_(effects.c.state == CLAIMED, effects.c.until <= new.at, effects.c.travels_since.is_(None)),
    ).returning(effects.c.key)


@cache
def _record(dialect: str) -> Insert:
    insert = insert_into(effects, dialect)
    new = insert.excluded
    return insert.on_conflict_do_update(
        index_elements=[effects.c.key],
        set_={name: new[name] for name in ("state", "holder", "until", "note", "at")},
        # Not as a parameter: those of the statement are the columns of a row.
        where=effects.c.state != literal_column(f"'{DONE}'"),
    )


@cache
def _hand_on(dialect: str) -> Insert:
    insert = insert_into(effects, dialect)
    return insert.on_conflict_do_update(
        index_elements=[effects.c.key],
        set_={"travels_since": insert.excluded.travels_since},
        where=and_(effects.c.state != DONE, effects.c.travels_since.is_(None)),
    )


@cache
def _tell(dialect: str) -> Insert:
    insert = insert_into(told, dialect)
    return insert.on_conflict_do_update(
        index_elements=[told.c.partner, told.c.order_id],
        set_={name: insert.excluded[name] for name in ("view", "at", "echo_awaited_since")},
    )
