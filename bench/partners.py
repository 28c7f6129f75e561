"""A simulated iQmetrix in a process of its own, so that its memory and its archive are not counted as the hub's.

    python -m bench.partners [seed]

The first line of its output is the account as JSON. Each number that comes on standard input places so many orders and
is answered with the number of entries in the feed. It ends with its input, so it never outlives who started it.
"""

import asyncio
import json
import sys

from hub.sandbox import IqmetrixSandbox


async def serve(seed: int) -> None:
    """Answer until standard input ends."""
    async with IqmetrixSandbox(seed=seed) as iqmetrix:
        account = {
            "base_url": iqmetrix.base_url,
            "token_url": iqmetrix.token_url,
            "supplier_id": str(iqmetrix.supplier_id),
            "username": iqmetrix.username,
            "password": iqmetrix.password,
            "client_id": iqmetrix.client_id,
            "client_secret": iqmetrix.client_secret,
        }
        print(json.dumps(account), flush=True)
        while count := await asyncio.to_thread(sys.stdin.readline):
            # On the loop: no page is read before all of the orders are there.
            iqmetrix.add_orders(int(count))
            print(len(iqmetrix.entry_ids), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]) if len(sys.argv) > 1 else 1))
