"""The operator's desk: ``hub`` and its commands, one file per command group (console script ``hub``).

The table below is all that is read before a command is chosen; only the chosen command's file is imported, so that
``hub --help`` is quick. No command shows a traceback for what the hub foresees: errors become sentences and an exit
status (0 done, 1 failed, 2 wrong use or settings, 130 interrupted).
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core
import typer.main

from hub.errors import ConfigError, HubError


@dataclass(frozen=True, slots=True)
class Command:
    """One row of the table of commands: its file in ``hub.cli``, and what it is called there."""

    name: str
    does: str
    attribute: str = "app"
    module: str | None = None

    def load(self) -> Any:
        """Import the file and give the command; ``attribute`` is a Typer app or a plain command function."""
        found = getattr(importlib.import_module(f"hub.cli.{self.module or self.name}"), self.attribute)
        if not isinstance(found, typer.Typer):
            alone = typer.Typer(add_completion=False)
            alone.command(self.name)(found)
            found = alone
        return typer.main.get_command(found)


COMMANDS = (
    Command(
        "up",
        "Start all there is here, with a private broker and sandbox partners if need be.",
        "up",
        "up.command",
    ),
    Command("run", "Run the long-lived service: all flows, one side, or those named.", "run"),
    Command("sandbox", "Run the partner simulators alone.", "sandbox"),
    Command("publish", "Validate and publish one event, or JSON lines.", "publish"),
    Command("orders", "What happened to an order."),
    Command(
        "letters", "Dead letters: list, show, replay, edit, discard, export.", module="dead_letters.commands"
    ),
    Command("cursor", "Where the pollers stand."),
    Command("topology", "The broker against the map."),
    Command("schema", "The contract with other services: export and show."),
    Command("config", "Settings: check and show."),
    Command("doctor", "Broker, state store, partners and clock: reached, and sane?", "doctor"),
)


class Desk(typer.core.TyperGroup):
    """The root group: imports the chosen command only, and turns errors into sentences."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Put the real command in the place of its row, then resolve as usual."""
        for row in COMMANDS:
            if args and args[0] == row.name:
                self.add_command(row.load(), row.name)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; what the hub foresees ends as text on standard error and an exit status."""
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            _say(error)
            raise typer.Exit(2) from None
        except BrokenPipeError:
            raise  # the reader went away; the command line library ends quietly
        except (HubError, OSError) as error:
            _say(error)
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=Desk,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Dropship orders between iQmetrix, RetailOps and webhook clients, over RabbitMQ.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        from hub.cli.output.printing import say

        say(f"dropship-hub {version('dropship-hub')}")
        raise typer.Exit


@app.callback()
def hub(
    ctx: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(help="The settings file; else HUB_CONFIG, else hub.toml where there is one."),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Say where the settings are; every command, and every process it starts, reads them from there."""
    if config is None:
        return
    before = os.environ.get("HUB_CONFIG")
    os.environ["HUB_CONFIG"] = str(config)
    ctx.call_on_close(lambda: _restore(before))


def _restore(before: str | None) -> None:
    if before is None:
        os.environ.pop("HUB_CONFIG", None)
    else:
        os.environ["HUB_CONFIG"] = before


def _say(error: Exception) -> None:
    from hub.cli.output.printing import complain

    complain(error)


def _row() -> None:
    """Stand in for a command in the help of ``hub``."""


for _command in COMMANDS:
    app.command(_command.name, help=_command.does)(_row)


def main() -> None:
    """Run ``hub`` with the process's arguments and end the process with its exit status."""
    from hub.observability.excepthooks import in_words

    in_words()
    # Not by calling the app, which would put a hook for tracebacks of its own in the place of ours.
    typer.main.get_command(app)()
