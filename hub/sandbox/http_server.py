"""A web application on a free local port, started and stopped in a moment.

Used by the simulated partners; it knows nothing of them. Stopping does not wait for open connections: a test or a demo that
ends must not hang on a client's idle keep-alive connection.
"""

from aiohttp import web

__all__ = ["LocalServer"]

# Seconds that open requests may still take when the server stops (aiohttp waits 60 s otherwise).
_SHUTDOWN_SECONDS = 0.2


class LocalServer:
    """One aiohttp application listening on one address."""

    def __init__(self, app: web.Application) -> None:
        """Keep the application; nothing listens before `start`."""
        self._app = app
        self._runner: web.AppRunner | None = None
        self._url: str | None = None

    @property
    def url(self) -> str:
        """The address of the running server, without a slash at the end.

        Raises:
            RuntimeError: the server was not started.
        """
        if self._url is None:
            raise RuntimeError(
                "the sandbox server has no address before it is started: use `async with` or `await start()`"
            )
        return self._url

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen on `host` and `port`; port 0 takes any free one."""
        runner = web.AppRunner(self._app, shutdown_timeout=_SHUTDOWN_SECONDS, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, host, port).start()
        self._runner = runner
        self._url = f"http://{host}:{runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Stop listening and drop what is open; harmless when it does not run."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
