"""Certificates and keys for ``amqps://``, read from the files that the settings name: at the start, and for each connection.

So a certificate can be replaced while the hub runs. A fault names the key whose file it is about.
"""

from __future__ import annotations

import ssl
from pathlib import Path


def tls_context(ca_file: Path | None, cert_file: Path | None, key_file: Path | None) -> ssl.SSLContext:
    """Return what a connection is made with; without ``ca_file`` the system's authorities are trusted.

    Args:
        ca_file: certificates of the authorities that broker certificates are signed by, in PEM form.
        cert_file: our own certificate, with its chain.
        key_file: its key, unless it is in ``cert_file``; without a passphrase.

    Raises:
        ValueError: a file is missing or is not what it should be; begins with the name of its key.
    """
    for name, file in (("ca_file", ca_file), ("cert_file", cert_file), ("key_file", key_file)):
        _readable(name, file)
    if key_file is not None and cert_file is None:
        raise ValueError("key_file: expected cert_file beside it, got none")
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError as error:
        raise ValueError(
            f"ca_file: expected certificates in PEM form in {ca_file}, got {_why(error)}"
        ) from None
    if cert_file is not None:
        _prove(context, cert_file, key_file)
    return context


def _prove(context: ssl.SSLContext, cert_file: Path, key_file: Path | None) -> None:
    name, file = ("cert_file", cert_file) if key_file is None else ("key_file", key_file)

    def passphrase() -> str:
        # Else OpenSSL asks for it at the terminal, and waits.
        raise ValueError(f"{name}: expected a key without a passphrase in {file}, got one that has one")

    try:
        context.load_cert_chain(cert_file, key_file, passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ValueError(f"{name}: expected the key of {cert_file} in {file}, got another one") from None
        expected = "a certificate and its key" if key_file is None else "a certificate and key_file its key"
        raise ValueError(
            f"cert_file: expected {expected} in PEM form in {cert_file}, got {_why(error)}"
        ) from None


def _readable(name: str, file: Path | None) -> None:
    if file is None:
        return
    try:
        with file.open("rb"):
            pass
    except OSError as error:
        raise ValueError(f"{name}: cannot read {file}: {error.strerror}") from None


def _why(error: ssl.SSLError) -> str:
    return (error.reason or "something else").lower().replace("_", " ")
