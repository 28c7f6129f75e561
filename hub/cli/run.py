"""``hub run``: the long-lived service, until SIGINT or SIGTERM. ``hub.service`` puts it together."""

from __future__ import annotations

from typing import Annotated

import typer

from hub.config.settings import load_given
from hub.errors import ConfigError
from hub.observability.log_lines import off_the_loop
from hub.observability.logging import LogEvent, log, set_up_logging
from hub.observability.metrics import LOG_LINES_DROPPED
from hub.process.lifecycle import Stop, run_long
from hub.service.composition import serve
from hub.service.flows import choose


def run(
    names: Annotated[
        list[str] | None, typer.Argument(help="producers, consumers, or names of flows; none: everything.")
    ] = None,
    accept_empty_state: Annotated[
        bool, typer.Option(help="Start with an empty state store although the broker has hub queues.")
    ] = False,
) -> None:
    """Run the long-lived service until SIGINT or SIGTERM."""
    settings = load_given()
    if settings.broker.url is None:
        raise ConfigError("broker.url: expected an amqp:// address, got none; hub up starts a private broker")
    flows = choose(names or (), settings)

    async def main() -> bool:
        stop = Stop()
        with stop.on_signals(on_hang_up=_ignore_reload):
            await serve(settings, flows, stop, accept_empty_state=accept_empty_state)
        return stop.by_signal is not None and stop.by_signal.name == "SIGINT"

    with off_the_loop(on_dropped=LOG_LINES_DROPPED.inc, on_again=_say_dropped) as write:
        set_up_logging(settings.log.format, settings.log.level, write=write)
        interrupted = run_long(main())
    if interrupted:
        raise typer.Exit(130)


def _ignore_reload() -> None:
    log.warning(
        LogEvent.RELOAD_IGNORED, reason="SIGHUP: settings are read at the start only; restart the hub"
    )


def _say_dropped(lines: int) -> None:
    log.warning(
        LogEvent.LOG_LINES_DROPPED, lines=lines, reason="whoever reads standard error did not for a while"
    )
