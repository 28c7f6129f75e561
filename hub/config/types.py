"""What settings are made of: durations, names, addresses, and tables whose secrets may come from files.

No text of an error here quotes an address whole: it may hold a password.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from stat import S_ISREG
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    model_validator,
)
from pydantic.fields import FieldInfo

from hub.observability.redaction import remember, secrets_of_url

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?\s*$")
AMQP_EXAMPLE = "amqp://user:password@host:5672/vhost"
# A comma that begins another address; one that stands in a password does not.
# It begins where a run of commas and blanks begins: tried from each of them, a long run would take minutes.
_NEXT_ADDRESS = re.compile(r"(?<![,\s])[,\s]+(?=[a-z]+://)")
# Bytes of a file with one secret: a certificate chain fits, a disk image does not.
LARGEST_SECRET = 64 * 1024
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


# Characters of a name or a value that a fault quotes: enough to find it again.
LONGEST_QUOTE = 80


def shortened(text: str, longest: int = LONGEST_QUOTE) -> str:
    """Cut a text that is quoted to ``longest`` characters, the last of them an ellipsis."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def parse_duration(value: object) -> object:
    """Read a duration: seconds as a number, or a text such as ``"30s"``, ``"5m"``, ``"1h"``.

    Raises:
        ValueError: for a text that is no duration; what is neither text nor number is left to pydantic.
    """
    if isinstance(value, bool):
        raise ValueError('expected seconds or a text such as "30s", got true or false')
    if isinstance(value, int | float):
        return _seconds(value)
    if isinstance(value, str):
        match = _DURATION.match(value)
        if not match:
            raise ValueError(
                f'expected seconds or a text such as "30s", "5m" or "1h", got {shortened(value)!r}'
            )
        return _seconds(float(match[1]) * _UNITS[match[2] or "s"])
    return value


def _seconds(number: float) -> timedelta:
    try:
        return timedelta(seconds=number)
    except OverflowError:
        # pydantic turns a ValueError alone into a fault of the setting.
        raise ValueError("expected at most 999999999 days") from None


Duration = Annotated[timedelta, BeforeValidator(parse_duration), Field(ge=timedelta(0))]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


def host_and_port(listen: str) -> tuple[str, int]:
    """Split ``host:port``; an IPv6 address stands in brackets.

    Raises:
        ValueError: it is not that.
    """
    example = "expected host:port such as 127.0.0.1:9464 or [::1]:9464"
    parts = parts_of(f"//{listen}", "127.0.0.1:9464")
    if not parts.hostname or parts.port is None or parts.netloc != listen or "@" in listen:
        raise ValueError(example)
    return parts.hostname, parts.port


def _is_listen(listen: str) -> str:
    host_and_port(listen)
    return listen


Listen = Annotated[str, AfterValidator(_is_listen)]
"""Where to listen, as host:port."""


class InAFile:
    """Marks a text that may hold a secret: like a ``SecretStr``, it may be given as ``<name>_file``."""


MayBeInAFile = Annotated[str, InAFile()]


def may_be_in_a_file(field: FieldInfo) -> bool:
    """Whether the setting can also be given as ``<name>_file``."""
    return "SecretStr" in str(field.annotation) or any(isinstance(mark, InAFile) for mark in field.metadata)


class Section(BaseModel):
    """A table of the settings: closed, so that a misspelt key is a fault and not a default."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=False)

    @model_validator(mode="before")
    @classmethod
    def _read_secret_files(cls, values: object) -> object:
        """Replace ``<name>_file`` by the stripped content of that file, for every secret of the table."""
        if not isinstance(values, dict):
            return values
        values = dict(values)
        for name, field in cls.model_fields.items():
            path = values.get(f"{name}_file")
            if path is None or f"{name}_file" in cls.model_fields or not may_be_in_a_file(field):
                continue
            if name in values:
                raise ValueError(f"expected {name} or {name}_file, got both")
            values[name] = secret_of(f"{name}_file", Path(str(path)))
            del values[f"{name}_file"]
        return values


def secret_of(setting: str, path: Path) -> str:
    """Return the stripped content of a secret's file.

    A pipe would be waited for, and a device has no end.

    Raises:
        ValueError: it cannot be read, is no regular file, is too large or no UTF-8; never quotes what is in it.
    """
    shown = shortened(str(path), 300)
    try:
        if not S_ISREG(path.stat().st_mode):
            raise ValueError(f"{setting}: expected a regular file, {shown} is none")
        with path.open("rb") as file:
            content = file.read(LARGEST_SECRET + 1)
    except OSError as error:
        raise ValueError(f"{setting}: cannot read {shown}: {error.strerror}") from None
    if len(content) > LARGEST_SECRET:
        raise ValueError(f"{setting}: expected at most {LARGEST_SECRET} bytes, {shown} has more")
    try:
        return content.decode().strip()
    except UnicodeDecodeError:
        raise ValueError(f"{setting}: expected UTF-8, {shown} holds other bytes") from None


def parts_of(url: str, example: str) -> SplitResult:
    """Split an address. The texts of ``urllib`` quote what is in it, so none of them passes."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # read for its check alone
    except ValueError:
        raise ValueError(f"expected an address such as {example}, got none that can be read") from None
    return parts


def joined(value: object) -> object:
    """Make one text of a list of addresses."""
    listed = isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
    return ",".join(value) if listed and isinstance(value, list | tuple) else value


def broker_hosts(urls: str) -> tuple[str, ...]:
    """Return the addresses in a text: one, or those of several hosts of a cluster with commas between them."""
    return tuple(_NEXT_ADDRESS.split(urls.strip()))


def partner_url(url: str, info: ValidationInfo) -> str:
    """Check the address of a partner: https, or http on loopback or where ``allow_http`` is set; no credentials."""
    parts = parts_of(url, "https://host/path")
    if "@" in parts.netloc:
        raise ValueError("expected an address without user and password; they have settings of their own")
    if not parts.hostname:
        raise ValueError("expected an https:// address, got one without a host")
    # Scheme and host alone: path and query may hold a key.
    shown = shortened(f"{parts.scheme}://{parts.hostname}")
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"expected an https:// address, got {shown!r}")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK and not info.data.get("allow_http"):
        raise ValueError(
            f"expected https, got {shown!r}; plain http is for loopback only, or set allow_http = true"
        )
    return url.rstrip("/")


def shown_url(url: str) -> str:
    """Render a database URL for people: with its user, without its password and its query.

    Where it cannot be told which part is the password, nothing but the scheme is shown.
    """
    # By hand: SQLAlchemy would cost every command that reads settings its import, and shows a password with a raw "@".
    scheme, mark, rest = url.partition("://")
    if not mark:
        return "…"
    place, _, query = rest.partition("?")
    if place.startswith("/"):
        return f"{scheme}://{place}"
    credentials, _, place = place.rpartition("@")
    # What stands for a port may be a password whose host is missing.
    _, colon, port = place.partition("/")[0].rpartition("]")[2].partition(":")
    if "@" in query or (colon and not port.isdecimal()):
        return f"{scheme}://…"
    user, colon, _ = credentials.partition(":")
    return f"{scheme}://{user}{':***' if colon else ''}{'@' if user or colon else ''}{place}"


def remember_secrets(value: object) -> None:
    """Make every secret of a table of settings known to redaction: what no output may hold from now on."""
    remember(*_secrets_in(value))


def _secrets_in(value: object) -> Iterator[str]:
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secrets_in(getattr(value, name))
    elif isinstance(value, tuple):
        for item in value:
            yield from _secrets_in(item)
    elif isinstance(value, SecretStr):
        yield value.get_secret_value()
        for address in broker_hosts(value.get_secret_value()):
            yield from secrets_of_url(address)
    elif isinstance(value, str) and "://" in value:
        yield from secrets_of_url(value)
