"""A publisher cannot bring the hub down by size: the broker refuses what is too large, the rest is read in turn."""

import pytest
from aiormq.exceptions import ChannelPreconditionFailed

from hub.models.input.body_limits import LARGEST_BODY
from tests.attacks.rig import Deployment


async def test_a_publisher_is_refused_a_body_beyond_the_limit(deployment: Deployment) -> None:
    with pytest.raises(ChannelPreconditionFailed):
        await deployment.publish_as_publisher(b" " * (LARGEST_BODY + 1), "order.shipped")
