"""The tree that is drawn in the docstring of ``hub.errors`` is the tree there is."""

import importlib
import pkgutil
import re
from collections.abc import Iterator

import consumers
import hub
import hub.errors
import producers
from hub.errors import HubError

# One line of the drawing: the branches before the name, the name, and the module where that is another.
_LINE = re.compile(
    r"^    (?P<branches>[│├└─ ]*)(?P<name>[A-Z]\w+)(?:  .*?(?:\((?P<module>hub\.[\w.]+)\))?)?$"
)
_DEPTH = len("├── ")


def modules() -> Iterator[str]:
    for package in (hub, consumers, producers):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            # Run, not imported: by python -m, and by Alembic.
            if not (found.name.endswith("__main__") or found.name.startswith("hub.state.migrations.")):
                yield found.name


def real(parent: type[HubError], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    path = (*above, parent.__name__)
    yield path
    for child in parent.__subclasses__():
        # One with an underscore is control flow of its module alone; the tests' own are not the hub's.
        if not child.__name__.startswith("_") and child.__module__.split(".")[0] != "tests":
            yield from real(child, path)


def drawn() -> Iterator[tuple[tuple[str, ...], str | None]]:
    path: tuple[str, ...] = ()
    for line in (hub.errors.__doc__ or "").splitlines():
        found = _LINE.match(line)
        if found is not None:
            path = (*path[: len(found["branches"]) // _DEPTH], found["name"])
            yield path, found["module"]


def test_the_drawn_tree_is_the_real_one() -> None:
    for module in modules():
        importlib.import_module(module)

    assert sorted(path for path, _ in drawn()) == sorted(real(HubError))


def test_each_error_is_defined_where_the_tree_says() -> None:
    elsewhere = {path[-1]: module for path, module in drawn() if module is not None}
    here = {path[-1] for path, _ in drawn()} - elsewhere.keys()

    for name, module in elsewhere.items():
        assert getattr(importlib.import_module(module), name).__module__ == module
    for name in here:
        assert getattr(hub.errors, name).__module__ == "hub.errors"
