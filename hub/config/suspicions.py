"""What is suspicious about settings that are no fault: printed by ``hub config check``, which still ends with 0.

Nothing here quotes a value that may be secret.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr

from hub.config.loading import content_of, foreign_variables, settings_file
from hub.config.settings import Settings
from hub.config.types import broker_hosts, shortened
from hub.config.webhooks import WebhookClient
from hub.observability.redaction import secrets_of_url

# What the example has where a secret belongs.
_PLACEHOLDER = "CHANGE-ME"
_EXAMPLE_SECRET = "whsec_..."  # noqa: S105  a placeholder
_SOURCES = ("iqmetrix", "retailops")
# What a webhook requires and an event may lack: the setting, the webhook, and when it is missing.
_REQUIRED = (
    ("channel", "confirmation", "always"),
    ("shipping_method", "confirmation", "where its package names no service"),
    ("weight_lb", "confirmation", "where its package has no weight_lb"),
    ("package_cost_cents", "confirmation", "where its package has no shipping_cost_cents"),
    ("brand", "cancellation", "always"),
    ("condition", "cancellation", "always"),
    ("shipping_method", "cancellation", "always"),
    ("location_identifier", "disposition", "where its event has no location_identifier"),
    ("warehouse_identifier", "disposition", "where its event has no warehouse_identifier"),
    ("program_identifier", "disposition", "where its event has no program_identifier"),
)
# Files of settings that hold nothing secret.
_PUBLIC_FILES = frozenset({"ca_file", "cert_file"})
# Where a container's runtime mounts secrets; their mode is the runtime's, and nobody else is in the container.
_MOUNTED = Path("/run/secrets")


def suspicions(settings: Settings, environ: Mapping[str, str] | None = None) -> Iterator[str]:
    """Yield a sentence for each thing that an operator should look at.

    Args:
        settings: that were read without a fault.
        environ: the environment that they were read from; absent: that of the process.
    """
    environ = os.environ if environ is None else environ
    yield from _placeholders(settings)
    yield from _retries(settings)
    for client in settings.webhooks:
        yield from _client(client, settings)
    if not (settings.iqmetrix or settings.retailops or settings.webhooks):
        yield "no [[iqmetrix]], [[retailops]] or [[webhooks]] table: there is nothing to poll and no client to call"
    yield from _readable_by_others(settings, environ)
    if foreign := foreign_variables(Settings, environ):
        yield (
            f"{shortened(', '.join(foreign), 400)}: no settings of the hub, and ignored; a platform makes such variables of a"
            ' service that is called "hub"'
        )
    for host in settings.broker.hosts:
        parts = urlsplit(host)
        if parts.scheme.lower() == "amqp" and not _is_loopback(parts.hostname or ""):
            yield (
                f"broker.url: plain amqp:// to {parts.hostname}: whoever can listen on the way reads the password and"
                " every order; use amqps://, unless nobody else is on that network"
            )


def _placeholders(settings: Settings) -> Iterator[str]:
    for path, text in _settings_in(settings, ""):
        hosts = [urlsplit(host).hostname or "" for host in broker_hosts(text)] if "://" in text else []
        if _PLACEHOLDER in text or text == _EXAMPLE_SECRET or any(h.endswith(".example") for h in hosts):
            yield f"{path}: a placeholder of the example; put the real value in its place"


def _settings_in(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield every text of the settings with its path."""
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _settings_in(getattr(value, name), f"{path}.{name}".lstrip("."))
    elif isinstance(value, tuple):
        for position, item in enumerate(value):
            yield from _settings_in(item, f"{path}.{position}")
    elif isinstance(value, SecretStr):
        yield path, value.get_secret_value()
    elif isinstance(value, str):
        yield path, value


def _retries(settings: Settings) -> Iterator[str]:
    waits = settings.retry.waits
    if any(later <= earlier for earlier, later in pairwise(waits)):
        yield "retry.waits: they do not grow, so a partner in trouble is called as often as before"


def _client(client: WebhookClient, settings: Settings) -> Iterator[str]:
    name = f"webhooks ({client.name})"
    addresses = {
        "confirmation": client.confirmation_url,
        "cancellation": client.cancellation_url,
        "partial_cancellation": client.partial_cancellation_url,
        "disposition": client.disposition_url,
    }
    kinds = {kind for kind, url in addresses.items() if url}
    if not kinds:
        yield f"{name}: no address, so nothing is ever sent; set confirmation_url or another …_url, or remove the table"
    configured = {source: bool(getattr(settings, source)) for source in _SOURCES}
    for source in client.sources or ():
        if source not in configured:
            yield f"{name}: sources: no source is named {shortened(source)!r}; there are {', '.join(_SOURCES)}"
        elif not configured[source]:
            yield f"{name}: sources: there is no [[{source}]] table, so no order of {source} will come"
    for default, of_kind, otherwise in _REQUIRED:
        if of_kind in kinds and getattr(client.defaults, default) is None:
            if default == "shipping_method" and client.shipping_methods:
                otherwise = "the code or service of an order is not in shipping_methods"
            yield f"{name}: defaults.{default} is not set: a {of_kind} becomes a dead letter {otherwise}"


def _readable_by_others(settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    file = settings_file(environ)
    written = content_of(file) if file is not None else {}
    texts = set(_texts(written))
    files = list(_secret_files(written))
    files += [value for name, value in sorted(environ.items()) if _names_secret_file(name)]
    if file is not None and any(secret in texts for secret in _secrets(settings)):
        yield from _exposed(file)
    for path in dict.fromkeys(files):
        if not Path(path).is_relative_to(_MOUNTED):
            yield from _exposed(Path(path))


def _exposed(path: Path) -> Iterator[str]:
    """Yield a sentence if a user who is neither the owner nor root can read the file."""
    try:
        found = path.stat()
        folders = [folder.stat().st_mode for folder in path.resolve().parents]
    except OSError:
        return
    # A group that an administrator gave the file to, so that we can read it, is meant to.
    for_group = found.st_mode & stat.S_IRGRP and found.st_uid == os.geteuid()
    for_all = found.st_mode & stat.S_IROTH and all(mode & stat.S_IXOTH for mode in folders)
    if for_all or (for_group and all(mode & (stat.S_IXGRP | stat.S_IXOTH) for mode in folders)):
        mode = stat.S_IMODE(found.st_mode)
        yield (
            f"{path}: holds secrets, and other users of this machine can read it (mode {mode:04o}); chmod 600 {path}"
        )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _secret_files(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if isinstance(inner, str) and name.endswith("_file") and name not in _PUBLIC_FILES:
                yield inner
            yield from _secret_files(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _secret_files(inner)


def _names_secret_file(variable: str) -> bool:
    table, mark, key = variable.lower().rpartition("__")
    return table.startswith("hub_") and bool(mark) and key.endswith("_file") and key not in _PUBLIC_FILES


def _secrets(value: Any) -> Iterator[str]:
    """Yield every text of the settings that is or holds a secret, whole."""
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secrets(getattr(value, name))
    elif isinstance(value, tuple):
        for item in value:
            yield from _secrets(item)
    elif isinstance(value, SecretStr) and _PLACEHOLDER not in value.get_secret_value():
        yield value.get_secret_value()
        yield from broker_hosts(value.get_secret_value())
    elif (
        isinstance(value, str) and "://" in value and _PLACEHOLDER not in value and any(secrets_of_url(value))
    ):
        yield value


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"
