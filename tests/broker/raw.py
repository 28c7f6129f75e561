"""Messages whose properties are bytes of the test's own, as clients in other languages may send them."""

import struct

from aio_pika.abc import AbstractChannel
from pamqp import commands


class RawProperties(commands.Basic.Properties):
    """Properties as another client might marshal them: flags and bytes as given."""

    def __init__(self, flags: int, content: bytes) -> None:
        super().__init__()
        self.message_id = "raw"
        self._raw = struct.pack(">H", flags) + content

    def marshal(self) -> bytes:
        return self._raw


async def send_raw(channel: AbstractChannel, properties: RawProperties, body: bytes) -> None:
    underlay = await channel.get_underlay_channel()
    await underlay.basic_publish(
        body, exchange="hub.fulfillment", routing_key="order.accepted", properties=properties
    )
