"""``hub topology``: the broker against the map. Plan and verify create nothing; apply creates what is missing.

Bindings cannot be read over AMQP: ``apply`` makes them all, which is harmless where they exist, and the other two
speak of exchanges and queues only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

import typer

from hub.amqp.copies.signature import Signer
from hub.amqp.sending.client_session import client_session
from hub.amqp.topology import declare, definitions
from hub.amqp.topology.declare import Finding, State
from hub.amqp.topology.migrate import Step
from hub.amqp.topology.migrate import migrate as migrate_queue
from hub.amqp.topology.migrate import plan as plan_migration
from hub.amqp.topology.orphans import OpenQueue, find_orphans
from hub.amqp.topology.orphans import retire as retire_queue
from hub.amqp.topology.policies import find_limiting
from hub.cli.context import read_settings, state_store
from hub.cli.output.printing import AsJson, Wide, counted, note, print_table, say
from hub.cli.output.tables import Column
from hub.config.settings import Settings
from hub.errors import ConfigError, StoreUnavailable
from hub.process.event_loop import run_short
from hub.service.flows import topology_of
from hub.service.installation import forget_queues, remembered_queues

app = typer.Typer(no_args_is_help=True, help="The broker against the map.")

_COLUMNS = (Column("thing", "short"), Column("name", "id"), Column("state"), Column("detail"))
_PLANNED = {
    State.THERE: "keep",
    State.MISSING: "create",
    State.EARLIER: "keep; hub topology migrate brings it up to date",
    State.DIFFERENT: "differs; apply leaves it as it is",
    State.NOT_ALLOWED: "not allowed to look",
}


@app.command()
def plan(wide: Wide = False, as_json: AsJson = False) -> None:
    """Say what apply would do; creates nothing, exit status 0."""
    settings = read_settings()
    findings = run_short(_inspect(settings))
    rows = [
        (finding.thing, finding.name, _PLANNED[finding.state], finding.detail)
        for finding in findings
        if as_json or finding.state is not State.THERE
    ]
    if rows or as_json:
        print_table(_COLUMNS, rows, as_json=as_json, wide=wide)
    if not as_json:
        bindings = len(topology_of(settings).bindings)
        say(f"{_summary(findings)}; {counted(bindings, 'binding')} to make sure of")
        for name, state in run_short(orphans(settings)).items():
            say(
                f"{name}: no longer in the settings, still on the broker with {counted(state.messages, 'message')};"
                f" hub topology retire {name} ends it"
            )


@app.command()
def apply(wide: Wide = False, as_json: AsJson = False) -> None:
    """Create what is missing and bind; what differs stays and is named, exit status 1."""
    settings = read_settings()
    findings = run_short(_apply(settings))
    _report(findings, (State.DIFFERENT, State.NOT_ALLOWED), as_json=as_json, wide=wide)


@app.command()
def verify(wide: Wide = False, as_json: AsJson = False) -> None:
    """Compare exchanges and queues, look for policies that limit them; exit status 1 if something is wrong."""
    settings = read_settings()
    findings = run_short(_inspect(settings))
    policies = run_short(find_limiting(settings.broker, topology_of(settings)))
    if policies.unknown:
        note(f"hub: policies were not looked at: {policies.unknown}")
    findings += [Finding("policy", each.name, State.LIMITING, str(each)) for each in policies.limiting]
    _report(findings, (State.DIFFERENT, State.MISSING, State.LIMITING), as_json=as_json, wide=wide)


@app.command()
def migrate(
    yes: Annotated[bool, typer.Option("--yes", help="Do it.")] = False, as_json: AsJson = False
) -> None:
    """Show queues that an earlier release declared; with --yes bring them up to date, and lose no message.

    Stop the hub first. It may be interrupted and repeated at any point.
    """
    settings = read_settings()
    steps = run_short(_plan_migration(settings))
    if steps or as_json:
        print_table(
            ("queue", "change", "messages", "consumers"),
            [(step.queue, step.change, step.messages, step.consumers) for step in steps],
            as_json=as_json,
        )
    if not steps:
        note("hub: every queue is as on the map")
        return
    if consumed := [step.queue for step in steps if step.consumers]:
        raise ConfigError(
            f"expected no consumers, {', '.join(consumed)} has some; stop the hub and its replicas first, and close what has"
            " fetched a message and not acknowledged it (hub letters, the management page), which counts as one"
        )
    if not yes:
        raise ConfigError(
            f"expected --yes: {counted(len(steps), 'queue')} would be emptied into temporary ones, deleted, declared"
            " anew and filled again. Close whatever else reads them, such as hub letters"
        )
    if not run_short(_migrate(settings, [step.queue for step in steps])):
        raise typer.Exit(1)


async def _plan_migration(settings: Settings) -> Sequence[Step]:
    async with client_session(settings.broker, name="hub topology") as open_session:
        return await plan_migration(open_session.connection, topology_of(settings))


async def _migrate(settings: Settings, queues: Sequence[str]) -> bool:
    """Migrate one after the other; one that cannot be does not stop the others."""
    topology, done = topology_of(settings), True
    async with (
        state_store(settings) as store,
        client_session(settings.broker, name="hub topology migrate") as open_session,
    ):
        signer = Signer((await store.signing()).key)
        for queue in queues:
            try:
                moved = await migrate_queue(open_session.connection, topology, queue, signer)
            except ConfigError as error:
                note(f"hub: {error}")
                done = False
            else:
                say(f"{queue}: up to date, {counted(moved, 'message')} moved")
    return done


@app.command()
def retire(
    queue: Annotated[
        str, typer.Argument(metavar="QUEUE", help="A queue that hub topology plan lists at its end.")
    ],
) -> None:
    """End a queue that the settings do not have any more: unbind it, and delete it and its letters' queue if empty."""
    settings = read_settings()
    if queue in {known.name for known in topology_of(settings).queues}:
        raise ConfigError(f"{queue}: expected a queue that is not in the settings any more; this one is")
    deleted = run_short(_retire(settings, queue))
    say(f"deleted {', '.join(deleted)}" if deleted else f"{queue}: not on the broker")


async def _retire(settings: Settings, queue: str) -> Sequence[str]:
    async with client_session(settings.broker, name="hub topology") as open_session:
        deleted = await retire_queue(open_session.connection, queue)
    async with state_store(settings) as store:
        await forget_queues(store, (queue, *deleted))
    return deleted


async def orphans(settings: Settings) -> Mapping[str, OpenQueue]:
    """Return the queues of earlier settings; none where no hub has run on this state store."""
    try:
        async with state_store(settings) as store:
            names = await remembered_queues(store) - {queue.name for queue in topology_of(settings).queues}
    except (ConfigError, StoreUnavailable):
        return {}
    async with client_session(settings.broker, name="hub topology") as open_session:
        return await find_orphans(open_session.connection, sorted(names))


@app.command()
def export() -> None:
    """Print the definitions.json of these settings; users in it have no password yet (see the README)."""
    say(definitions.to_json(topology_of(read_settings())).rstrip("\n"))


def _report(findings: Sequence[Finding], wrong: Iterable[State], *, as_json: bool, wide: bool) -> None:
    """Print what is not simply there, count the rest, and exit 1 if something is wrong."""
    bad = [finding for finding in findings if finding.state in wrong]
    rows = [
        (finding.thing, finding.name, finding.state.value, finding.detail)
        for finding in findings
        if as_json or finding.state is not State.THERE or finding.detail
    ]
    if rows or as_json:
        print_table(_COLUMNS, rows, as_json=as_json, wide=wide)
    if not as_json:
        say(_summary(findings))
    if bad:
        note(_remedy(bad))
        raise typer.Exit(1)


def _remedy(bad: Sequence[Finding]) -> str:
    if any(finding.state is State.DIFFERENT for finding in bad):
        return (
            "hub: arguments of an existing queue or exchange cannot be changed: drain it, delete it, then run"
            " hub topology apply"
        )
    if any(finding.state is State.NOT_ALLOWED for finding in bad):
        return "hub: run it as a broker user that may configure hub.*, such as the user hub"
    if all(finding.state is State.LIMITING for finding in bad):
        return "hub: clear these policies, or give them a pattern that leaves out ^hub\\."
    return "hub: hub topology apply creates what is missing"


def _summary(findings: Sequence[Finding]) -> str:
    counts = {
        state: sum(finding.state is state for finding in findings)
        for state in State
        if any(finding.state is state for finding in findings)
    }
    return ", ".join(f"{number} {state.value}" for state, number in counts.items())


async def _inspect(settings: Settings) -> list[Finding]:
    async with client_session(settings.broker, name="hub topology") as open_session:
        return await declare.inspect(open_session.connection, topology_of(settings))


async def _apply(settings: Settings) -> list[Finding]:
    async with client_session(settings.broker, name="hub topology") as open_session:
        return await declare.apply(open_session.connection, topology_of(settings))
