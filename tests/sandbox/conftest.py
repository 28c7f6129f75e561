"""A plain HTTP client for the simulated partners: the tests know the documents, not the hub."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from hub.sandbox import IqmetrixSandbox
from tests.sandbox.caller import Caller, Clock


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield session


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def iq(clock: Clock) -> AsyncIterator[IqmetrixSandbox]:
    async with IqmetrixSandbox(seed=7, page_size=3, now=clock) as sandbox:
        yield sandbox


@pytest.fixture
async def caller(client: aiohttp.ClientSession, iq: IqmetrixSandbox) -> Caller:
    made = Caller(client, iq)
    await made.authenticate()
    return made
