"""A wall clock that can be moved while the process runs; monotonic time, which the hub measures waits with, stays.

It takes the place of `datetime` in the modules of the hub, as a changed system clock would.
"""

import datetime as real
import sys
from datetime import timedelta
from typing import Any

_PACKAGES = ("hub", "consumers", "producers")
_moved = timedelta(0)


class _Instances(type):
    """Real moments are instances of the moving class too."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, real.datetime)


class MovableDatetime(real.datetime, metaclass=_Instances):
    """`datetime` whose `now` is off by what the clock was moved."""

    @classmethod
    def now(cls, tz: real.tzinfo | None = None) -> Any:
        return real.datetime.now(tz) + _moved


def install() -> None:
    """Let every loaded module of the hub read this clock."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in _PACKAGES and getattr(module, "datetime", None) is real.datetime:
            module.datetime = MovableDatetime  # type: ignore[attr-defined]


def move(by: timedelta) -> None:
    """Move the clock."""
    global _moved
    _moved += by
