"""What nobody caught: said in one line, without values, instead of a traceback.

A text or an argument of an unforeseen exception may hold an address or a password; its class and its frames tell where
to look. ``HUB_DEBUG=1`` brings the interpreter's own traceback back, for a developer's terminal.
"""

from __future__ import annotations

import os
import sys
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

DEBUG = "HUB_DEBUG"


def in_words() -> None:
    """Say from now on what ends the process in one line on standard error, and what ends a thread in the log."""
    if os.environ.get(DEBUG):
        return
    sys.excepthook = _ends_the_process
    threading.excepthook = _ends_a_thread
    sys.unraisablehook = _in_a_destructor


def in_loop(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what a task or a callback raised that nobody waits for (the loop's exception handler)."""
    task = context.get("task") or context.get("future")
    # A future, unlike a task, has no name.
    name = getattr(task, "get_name", lambda: None)()
    _log(str(context.get("message")), name, context.get("exception"))


def _ends_the_process(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if not issubclass(kind, Exception):
        sys.__excepthook__(kind, error, trace)
        return
    # Not at the top, and below as well: `hub --help` would pay for the import.
    from hub.observability.redaction import frames

    first = _innermost(error)
    where = frames(first) or frames(error) or ["an unknown place"]
    print(
        f"hub: unexpected {type(first).__name__} at {where[-1]}; {DEBUG}=1 shows the traceback",
        file=sys.stderr,
    )


def _ends_a_thread(args: threading.ExceptHookArgs) -> None:
    _log("a thread ended", args.thread.name if args.thread else None, args.exc_value)


def _in_a_destructor(args: Any) -> None:
    _log("a destructor failed", None, args.exc_value)


def _log(what: str, task: str | None, error: BaseException | None) -> None:
    from hub.observability.logging import LogEvent, log

    log.error(LogEvent.UNCAUGHT, what=what, task=task, exc_info=error)


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
