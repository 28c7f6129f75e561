"""``hub doctor``: is everything reached that the hub needs, and is it sane? Changes nothing, sends nobody an order.

settings - broker - state store - partners and their credentials - clock; all at once, each with a deadline
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import typer

from hub.amqp.diagnostics.broker_checks import examine_broker
from hub.cli.context import read_settings
from hub.cli.output.printing import AsJson, Wide, counted, print_table, say
from hub.cli.topology import orphans
from hub.config.settings import Settings
from hub.errors import ConfigError, HubError
from hub.observability.health_checks import Diagnosis, Examination, examine, fault, well
from hub.operations.doctor.partners import examine_iqmetrix, examine_retailops, examine_webhooks
from hub.operations.doctor.pollers import examine_pollers
from hub.operations.doctor.store import examine_store
from hub.process.event_loop import run_short
from hub.service.flows import topology_of

_COLUMNS = ("check", "state", "got", "expected", "what to do")
# Seconds for each examination; what it consists of has shorter limits of its own.
_WITHIN_SECONDS = 30.0


def doctor(wide: Wide = False, as_json: AsJson = False) -> None:
    """Look at settings, broker, state store, partners and clock; exit status 1 if something is at fault."""
    try:
        settings = read_settings()
    except ConfigError as error:
        diagnoses = [
            fault(
                "settings",
                expected="settings that can be read",
                got=said,
                remedy="hub config table names all",
            )
            for said in error.faults
        ]
    else:
        diagnoses = run_short(diagnose(settings))
    _report(diagnoses, as_json=as_json, wide=wide)
    if not all(diagnosis.ok for diagnosis in diagnoses):
        raise typer.Exit(1)


async def diagnose(settings: Settings) -> list[Diagnosis]:
    """Examine all there is in these settings at once."""
    examinations: dict[str, Examination] = {
        "broker": partial(examine_broker, settings.broker, topology_of(settings)),
        "state store": partial(examine_store, settings.state),
    }
    examinations["pollers"] = partial(examine_pollers, settings)
    for account in settings.iqmetrix:
        examinations[f"iqmetrix {account.account}"] = partial(examine_iqmetrix, account)
    for vendor in settings.retailops:
        examinations[f"retailops {vendor.account}"] = partial(examine_retailops, vendor)
    for client in settings.webhooks:
        examinations[f"webhooks {client.name}"] = partial(examine_webhooks, client)
    examinations["left-over queues"] = partial(_examine_orphans, settings)
    return [_partners_set(settings), *await examine(examinations, within=_WITHIN_SECONDS)]


async def _examine_orphans(settings: Settings) -> list[Diagnosis]:
    """Name queues of partners, clients and waits that left the settings; they go on filling."""
    try:
        found = await orphans(settings)
    except HubError:
        # Broker and state store have lines of their own.
        return []
    if not found:
        return [well("left-over queues", "none")]
    names = ", ".join(f"{name} ({state.messages})" for name, state in found.items())
    return [
        fault(
            "left-over queues",
            expected="queues of the settings only",
            got=names,
            remedy="hub topology retire QUEUE ends one; or put its partner or client back",
        )
    ]


def _partners_set(settings: Settings) -> Diagnosis:
    tables = {table: getattr(settings, table) for table in type(settings).model_fields}
    numbers = {table: len(sections) for table, sections in tables.items() if isinstance(sections, tuple)}
    if not any(numbers.values()):
        return fault(
            "settings",
            expected=f"at least one of {', '.join(f'[[{table}]]' for table in numbers)}",
            got="none",
            remedy="start from hub.example.toml, or point HUB_CONFIG at the settings file",
        )
    return well("settings", ", ".join(f"{number} x [[{table}]]" for table, number in numbers.items()))


def _report(diagnoses: Sequence[Diagnosis], *, as_json: bool, wide: bool) -> None:
    rows = [
        (found.check, "ok" if found.ok else "fault", found.got, found.expected, found.remedy)
        for found in diagnoses
    ]
    print_table(_COLUMNS, rows, as_json=as_json, wide=wide)
    faults = sum(not diagnosis.ok for diagnosis in diagnoses)
    if not as_json:
        say("all well" if not faults else f"{counted(faults, 'fault')} of {counted(len(rows), 'check')}")
