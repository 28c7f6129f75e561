"""aioresponses for the aiohttp in use: 0.7.9 does not know an argument that aiohttp 3.14 asks of every response.

See https://github.com/pnuckowski/aioresponses/issues/289; with a release that mends it, this file can go.
"""

from types import SimpleNamespace
from typing import Any

import aiohttp
from aioresponses import aioresponses


class _Answer(aiohttp.ClientResponse):
    """A response that counts no bytes sent."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"stream_writer": SimpleNamespace(output_size=0), **kwargs})


class Receiver(aioresponses):
    """Answers the posts to a client's endpoint, and records them."""

    def add(self, *args: Any, **kwargs: Any) -> None:
        super().add(*args, **{"response_class": _Answer, **kwargs})
