"""feedparser, the usual library for feeds, on the same bytes as the hub.

    python -m bench.contenders.feedparser_pages PAGE

Each line on standard input is a turn; it is answered with the wall and the processor seconds of one page. It ends with
its input, so it never outlives who started it.
"""

import json
import sys
import time
from pathlib import Path

import feedparser


def main() -> None:
    """Take turns until the input ends."""
    body = Path(sys.argv[1]).read_bytes()
    for _ in sys.stdin:
        wall, processor = time.perf_counter(), time.process_time()
        entries = len(feedparser.parse(body).entries)
        seconds = time.perf_counter() - wall, time.process_time() - processor
        print(json.dumps({"entries": entries, "wall": seconds[0], "processor": seconds[1]}), flush=True)


if __name__ == "__main__":
    main()
