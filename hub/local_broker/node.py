"""A RabbitMQ of our own: one private node as a child process, for `hub up`, for the demo and for the tests.

Everything it needs is in one folder and on loopback ports of its own: data, log, cookie, user, epmd. A broker
that the machine already runs (5672, 4369) is neither used nor disturbed. Called by `hub up` and the tests. It
declares no queue and knows no topology, and it is not for production: there, the broker is a container.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from hub.local_broker.node_files import PLUGINS_WITH_A_PORT, Identity, node_environment, write_node_files
from hub.local_broker.node_process import accepts, find_epmd, find_server, kill, spawn
from hub.local_broker.port_reservation import BrokerNodeError, lock_folder, reserve_new_ports, reserve_ports

__all__ = ["BrokerNodeError", "PrivateNode", "find_server"]

POLL_SECONDS = 0.05
"""How often a starting or ending process is looked at: a start takes seconds, so this adds one percent."""


class PrivateNode:
    """One RabbitMQ node that lives and dies with this process.

    The thread that calls `start` must outlive the node: Linux ends the broker with the thread that made it.
    """

    def __init__(
        self, data_dir: Path, *, plugins: Sequence[str] = (), server: Path | None = None, more: str = ""
    ) -> None:
        """Prepare a node; nothing is started or written yet.

        Args:
            data_dir: its folder, made if missing; the same folder again is the same node with its data.
            plugins: names such as `rabbitmq_management`.
            server: the server script; None asks `find_server` at the start.
            more: further lines of `rabbitmq.conf`, such as the other nodes of a cluster.
        """
        self.data_dir = data_dir.absolute()
        self.plugins = tuple(plugins)
        self._server = server
        self._more = more
        self._identity: Identity | None = None
        self._broker: subprocess.Popen[bytes] | None = None
        self._epmd: subprocess.Popen[bytes] | None = None
        self._owned = contextlib.ExitStack()  # the folder's lock and the reserved ports
        self._lock_fd: int | None = None

    # --- facts, known from the first start on ---

    @property
    def name(self) -> str:
        """The Erlang node name, such as `hub23456@localhost`."""
        return self._known.name

    @property
    def port(self) -> int:
        """The AMQP port on 127.0.0.1."""
        return self._known.ports["amqp"]

    @property
    def user(self) -> str:
        """The node's only user, an administrator."""
        return self._known.user

    @property
    def password(self) -> str:
        """The password of `user`."""
        return self._known.password

    @property
    def url(self) -> str:
        """The AMQP URL of the default virtual host, with credentials."""
        return self.vhost_url("/")

    @property
    def management_url(self) -> str | None:
        """Where the management API answers (without credentials), or None while that plugin is off."""
        if "management" not in self._listeners:
            return None
        return f"http://127.0.0.1:{self._known.ports['management']}"

    @property
    def pid(self) -> int | None:
        """The broker's process id, or None while it is down."""
        return self._broker.pid if self._broker is not None else None

    @property
    def has_died(self) -> bool:
        """Whether the broker was started and ended without being asked; ``restart`` brings it back."""
        return self._broker is not None and self._broker.poll() is not None

    def vhost_url(self, vhost: str) -> str:
        """The AMQP URL of a virtual host, with credentials."""
        path = "" if vhost == "/" else quote(vhost, safe="")
        return f"amqp://{quote(self.user)}:{quote(self.password)}@127.0.0.1:{self.port}/{path}"

    # --- life ---

    async def start(self, timeout: float = 60) -> None:
        """Start the broker and return when it accepts connections; a running one is left alone.

        Args:
            timeout: seconds until the start counts as failed.

        Raises:
            BrokerNodeError: no server, folder in use by another process, or the broker did not come up.
                Nothing is left running then.
        """
        if self._broker is not None:
            return
        server = self._server or find_server()
        try:
            await self._own_folder()
            self._broker = await self._boot(server, time.monotonic() + timeout)
        except BaseException:
            # Also when cancelled: half a broker helps nobody.
            self._release()
            raise

    async def stop(self, grace: float = 10) -> None:
        """End the broker and free folder and ports; the data stays. Harmless when it is down.

        Args:
            grace: seconds for a clean end before it is killed, which takes about 1, and 6 with the management
                plugin of RabbitMQ 3.10; 0 kills at once.
        """
        try:
            await self._end_broker(grace)
        finally:
            self._release()

    async def kill(self) -> None:
        """End the broker as a crash does (SIGKILL). Folder and ports stay ours for `start` or `restart`."""
        await self._end_broker(grace=0)

    async def shut_down(self, *, grace: float = 10) -> None:
        """End the broker as an operator does (SIGTERM). Folder and ports stay ours for `start` or `restart`."""
        await self._end_broker(grace)

    async def restart(self, *, grace: float = 10, timeout: float = 60) -> None:
        """End the broker, if it runs, and start it on the same data, name and ports."""
        await self._end_broker(grace)
        await self.start(timeout)

    def pause(self) -> None:
        """Freeze the broker (SIGSTOP) and return when all its threads stand still.

        Connections stay open and nothing answers. It blocks the caller for the milliseconds that takes: a signal
        that was sent is not yet heeded, and until it is a broker still confirms.
        """
        self._signal(signal.SIGSTOP)
        # WEXITED: one that ends instead ends the wait. WNOWAIT: how it ended is left for `Popen` to read.
        with contextlib.suppress(ChildProcessError):  # it had ended before and was read
            os.waitid(os.P_PID, self._running.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Continue a frozen broker."""
        self._signal(signal.SIGCONT)

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        await self.stop()

    # --- how ---

    @property
    def _known(self) -> Identity:
        if self._identity is None:
            raise BrokerNodeError(
                "the private broker has not been started yet: its name and ports are not known"
            )
        return self._identity

    @property
    def _listeners(self) -> set[str]:
        return {"amqp"} | {PLUGINS_WITH_A_PORT[name] for name in self.plugins if name in PLUGINS_WITH_A_PORT}

    async def _own_folder(self) -> None:
        """Lock the folder, remember or invent the node, reserve its ports, write files; once until `stop`."""
        if self._lock_fd is not None:
            return
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock_fd = await lock_folder(self.data_dir, self._owned)
        try:
            known = Identity.read(self.data_dir)
        except ValueError as fault:
            raise BrokerNodeError(
                f"{fault}: restore it, or remove {self.data_dir} to begin with an empty broker"
            ) from fault
        if known is None:
            self._identity = Identity.invent(reserve_new_ports(self._owned))
        elif reserve_ports(known.ports, self._owned):
            self._identity = known
        else:
            # Another process sits on a remembered port. The name stays: the broker's data carries it.
            self._identity = Identity(
                known.name, known.user, known.password, known.cookie, reserve_new_ports(self._owned)
            )
        self._identity.write(self.data_dir)
        write_node_files(self.data_dir, self._identity, self.plugins, self._more)

    async def _boot(self, server: Path, deadline: float) -> subprocess.Popen[bytes]:
        env = node_environment(self.data_dir, self._known)
        log = self.data_dir / "log" / "out"
        if self._epmd is None or self._epmd.poll() is not None:
            # Before erl: an erl that finds no epmd starts one as a daemon, and that one would stay.
            ports = self._known.ports
            options = ["-port", str(ports["epmd"]), "-address", "127.0.0.1", "-relaxed_command_check"]
            self._epmd = spawn([str(find_epmd()), *options], env, log)
            await self._listening(self._epmd, {"epmd"}, deadline)
        broker = spawn([str(server)], env, log, keep=self._lock_fd)
        try:
            await self._listening(broker, self._listeners, deadline)
        except BaseException:
            kill(broker)
            raise
        return broker

    async def _listening(self, child: subprocess.Popen[bytes], listeners: set[str], deadline: float) -> None:
        """Return when all `listeners` accept; the ports are reserved, so it is the child that does."""
        waiting = {self._known.ports[listener] for listener in listeners}
        while waiting := {port for port in waiting if not accepts(port)}:
            if child.poll() is not None:
                raise BrokerNodeError(
                    f"the private broker ended with status {child.returncode} while starting"
                    f"{self._last_words()}"
                )
            if time.monotonic() > deadline:
                raise BrokerNodeError(
                    f"the private broker did not open {sorted(waiting)} in time{self._last_words()}"
                )
            await asyncio.sleep(POLL_SECONDS)

    async def _end_broker(self, grace: float) -> None:
        broker = self._broker
        if broker is None:
            return
        if grace > 0:
            broker.send_signal(signal.SIGCONT)  # a frozen broker would not see the next one
            broker.terminate()
            deadline = time.monotonic() + grace
            try:
                while broker.poll() is None:
                    if time.monotonic() > deadline:
                        break
                    await asyncio.sleep(POLL_SECONDS)
            except asyncio.CancelledError:
                kill(broker)
                self._broker = None
                raise
        kill(broker)
        self._broker = None

    def _release(self) -> None:
        if self._epmd is not None:
            kill(self._epmd)
            self._epmd = None
        self._owned.close()
        self._lock_fd = None

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._broker is None:
            raise BrokerNodeError("the private broker is not running")
        return self._broker

    def _signal(self, number: signal.Signals) -> None:
        self._running.send_signal(number)

    def _last_words(self) -> str:
        """The end of the broker's output and log, to be appended to an error."""
        lines: list[str] = []
        for name in ("rabbit.log", "out"):
            with contextlib.suppress(FileNotFoundError):
                lines += (self.data_dir / "log" / name).read_text(errors="replace").splitlines()[-10:]
        return f" (log: {self.data_dir / 'log'}):\n  " + "\n  ".join(lines or ["(it said nothing)"])
