"""The files of ``amqps://``: what is wrong with one is said at the start, by the name of its key."""

from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from hub.config.settings import load
from hub.errors import ConfigError

GOOD = {"ca_file": "ca.pem", "cert_file": "hub.pem", "key_file": "hub.key"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    for name in ("hub", "other"):
        issued = authority.issue_cert(name)
        issued.private_key_pem.write_to_path(tmp_path / f"{name}.key")
        issued.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
        issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / f"{name}-both.pem")
    key = load_pem_private_key((tmp_path / "hub.key").read_bytes(), None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"passphrase"))
    (tmp_path / "locked.key").write_bytes(locked)
    return tmp_path


def _settings(folder: Path, scheme: str, files: dict[str, str]) -> dict[str, str]:
    named = {f"HUB_BROKER__{name.upper()}": str(folder / file) for name, file in files.items()}
    return {"HUB_BROKER__URL": f"{scheme}://hub:secret@broker/", **named}


@pytest.mark.parametrize("files", [GOOD, {"ca_file": "ca.pem"}, {"cert_file": "hub-both.pem"}, {}])
def test_files_that_belong_together_are_taken(folder: Path, files: dict[str, str]) -> None:
    assert load(None, _settings(folder, "amqps", files)).broker.tls().check_hostname


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"ca_file": "none.pem"}, "ca_file: cannot read"),
        ({"ca_file": "hub.key"}, "ca_file: expected certificates in PEM form"),
        ({"cert_file": "none.pem"}, "cert_file: cannot read"),
        ({"cert_file": "hub.key"}, "cert_file: expected a certificate and key_file its key"),
        ({"key_file": "none.key"}, "key_file: cannot read"),
        ({"key_file": "other.key"}, "key_file: expected the key of"),
        ({"key_file": "locked.key"}, "key_file: expected a key without a passphrase"),
    ],
)
def test_a_file_that_is_wrong_is_a_fault_that_names_its_key(
    folder: Path, changed: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as fault:
        load(None, _settings(folder, "amqps", GOOD | changed))

    assert str(fault.value).startswith("broker")
    assert "secret" not in str(fault.value)


def test_a_key_without_a_certificate_is_a_fault(folder: Path) -> None:
    with pytest.raises(ConfigError, match="key_file: expected cert_file beside it"):
        load(None, _settings(folder, "amqps", {"key_file": "hub.key"}))


def test_a_plain_broker_needs_none_of_them(folder: Path) -> None:
    assert load(None, _settings(folder, "amqp", {"ca_file": "none.pem"})).broker.hosts
