"""What a private node finds on disk: its identity, its configuration, its environment.

Called by `hub.local_broker.node` only. Nothing here starts a process or opens a port.
"""

import base64
import hashlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hub.models.input.body_limits import LARGEST_BODY

PLUGINS_WITH_A_PORT = {
    "rabbitmq_management": "management",
    "rabbitmq_shovel_management": "management",
    "rabbitmq_prometheus": "prometheus",
}
"""Which plugin opens which of the node's ports; the shovel's pages switch management on as well."""

LISTENERS = ("amqp", "management", "prometheus", "distribution", "epmd")
"""Every port that a node may open; a node without the plugins leaves two of them closed."""

# A thread of Erlang spins before it sleeps. Not at all, and a start reads its code with 160,000 wake-ups, which
# take 7 s on a virtual machine; long, and an idle broker keeps a small machine busy. So it spins very shortly.
# The distribution listens on loopback only, as everything here does.
ERL_ARGS = "+sbwt very_short +sbwtdcpu none +sbwtdio very_short -kernel inet_dist_use_interface {127,0,0,1}"

CONF = """\
# Written by the hub at every start of its private broker: changes made here are lost.
listeners.tcp.1 = 127.0.0.1:{amqp}
load_definitions = {folder}/definitions.json
# A laptop's share, not a server's.
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 50MB
# The write-ahead log is held in memory up to this size (64 MiB).
raft.wal_max_size_bytes = 67108864
max_message_size = {largest_body}
log.console = false
log.file.level = info
# 10 MiB, and three old files.
log.file.rotation.size = 10485760
log.file.rotation.count = 3
"""

# A dead-letter worker that cannot deliver waits this long (ms), with this many messages in hand, before it
# tries again. The defaults (180 s, 32) let 32 undeliverable messages stop a wait rung for everybody.
ADVANCED = """\
[{rabbit, [{dead_letter_worker_publisher_confirm_timeout, 15000},
           {dead_letter_worker_consumer_prefetch, 256}]}].
"""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a node is, kept in `node.json` so that tomorrow's start finds today's data.

    The data directory of the broker carries `name`, so a name is for life; ports may be chosen anew.
    """

    name: str
    user: str
    password: str
    cookie: str
    ports: Mapping[str, int]

    @classmethod
    def invent(cls, ports: Mapping[str, int]) -> "Identity":
        """A new node's identity: named after its AMQP port, with its own random user, password and cookie."""
        return cls(
            name=f"hub{ports['amqp']}@localhost",
            user=f"hub-{secrets.token_hex(3)}",
            password=secrets.token_urlsafe(18),
            cookie=secrets.token_hex(16),
            ports=dict(ports),
        )

    @classmethod
    def read(cls, folder: Path) -> "Identity | None":
        """The identity remembered in `folder`, or None for a new one.

        Raises:
            ValueError: `node.json` is there and is not what we wrote.
        """
        try:
            text = (folder / "node.json").read_text()
        except FileNotFoundError:
            return None
        try:
            known = json.loads(text)
            ports = {listener: int(known["ports"][listener]) for listener in LISTENERS}
            words = {word: str(known[word]) for word in ("name", "user", "password", "cookie")}
        except (KeyError, TypeError, ValueError) as fault:
            raise ValueError(f"{folder / 'node.json'} is damaged ({type(fault).__name__})") from fault
        return cls(**words, ports=ports)

    def write(self, folder: Path) -> None:
        """Remember this identity in `folder`, readable by its owner only."""
        write_private(folder / "node.json", json.dumps(asdict(self), indent=2) + "\n")


def write_private(path: Path, text: str) -> None:
    """Write `text` to `path` with mode 0600, in one step: a crash leaves the old file or the new one."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def write_node_files(folder: Path, identity: Identity, plugins: Sequence[str], more: str = "") -> None:
    """Write everything the broker reads at its start into `folder`; `more` are further lines of its settings."""
    for name in ("home", "log", "mnesia"):
        (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(folder / "home" / ".erlang.cookie", identity.cookie)
    write_private(folder / "definitions.json", json.dumps(_definitions(identity)))
    conf = CONF.format(folder=folder, largest_body=LARGEST_BODY, **identity.ports)
    # A key of a plugin that is off would keep the broker from starting.
    for listener in sorted({PLUGINS_WITH_A_PORT[name] for name in plugins if name in PLUGINS_WITH_A_PORT}):
        conf += f"{listener}.tcp.ip = 127.0.0.1\n{listener}.tcp.port = {identity.ports[listener]}\n"
    (folder / "rabbitmq.conf").write_text(conf + more)
    (folder / "advanced.config").write_text(ADVANCED)
    (folder / "enabled_plugins").write_text(f"[{','.join(plugins)}].\n")


def node_environment(folder: Path, identity: Identity) -> dict[str, str]:
    """The whole environment of the broker and its epmd.

    Nothing is inherited but what finds programs: neither another broker's RABBITMQ_* and ERL_* settings, nor
    our secrets.
    """
    inherited = ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "TZ")
    return (
        {"PATH": os.defpath}
        | {name: os.environ[name] for name in inherited if name in os.environ}
        | {
            "HOME": str(folder / "home"),
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(identity.ports["epmd"]),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_CRASH_DUMP_BYTES": "0",
            # Makes the script exec erl: our child is the broker itself, with no shell between a signal and
            # it.
            "RUNNING_UNDER_SYSTEMD": "true",
            "NOTIFY_SOCKET": "",
            "RABBITMQ_NODENAME": identity.name,
            "RABBITMQ_DIST_PORT": str(identity.ports["distribution"]),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_LOGS": str(folder / "log" / "rabbit.log"),
            "RABBITMQ_PID_FILE": str(folder / "rabbit.pid"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
            "RABBITMQ_PLUGINS_EXPAND_DIR": str(folder / "plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERL_ARGS,
            "RABBITMQ_CTL_ERL_ARGS": ERL_ARGS,
        }
    )


def _definitions(identity: Identity) -> dict[str, object]:
    """One administrator and the default virtual host; with these in place the broker makes no `guest`."""
    salt = os.urandom(4)
    digest = hashlib.sha256(salt + identity.password.encode()).digest()
    return {
        "vhosts": [{"name": "/"}],
        "users": [
            {
                "name": identity.user,
                "password_hash": base64.b64encode(salt + digest).decode(),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": ["administrator"],
            }
        ],
        "permissions": [
            {"user": identity.user, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"},
        ],
    }
