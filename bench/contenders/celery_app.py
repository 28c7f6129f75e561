"""The same with Celery: a task that is acked late, from a quorum queue.

    python -m bench.contenders.celery_app processes      two, with a post at a time each
    python -m bench.contenders.celery_app threads        one process, with a thread for each connection to the receiver
    python -m bench.contenders.celery_app put FILE       publishes the events of a file, one a line

A message is Celery's own envelope around the event. Each process or thread keeps its connection to the receiver.
"""

import sys
import threading
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
from celery import Celery
from kombu.entity import Queue

from bench.contenders import delivering

WORKERS = {"processes": ("prefork", 2), "threads": ("threads", delivering.CONNECTIONS)}

_QUORUM: Any = {"durable": True, "queue_arguments": {"x-queue-type": "quorum"}}
_QUEUE = Queue(delivering.QUEUE, **_QUORUM)  # type: ignore[no-untyped-call]

app = Celery("bench", broker=delivering.BROKER)
app.conf.update(
    task_queues=[_QUEUE],
    task_default_queue=delivering.QUEUE,
    task_acks_late=True,
    task_ignore_result=True,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"confirm_publish": True},
)

_receiver = urlsplit(delivering.RECEIVER)
_own = threading.local()


def deliver(document: Any) -> None:
    """Post one event."""
    body = delivering.body_of(delivering.validated(document))
    if not hasattr(_own, "connection"):
        _own.connection = HTTPConnection(_receiver.hostname or "", _receiver.port)
    _own.connection.request("POST", _receiver.path, body, delivering.HEADERS)
    answer = _own.connection.getresponse()
    answer.read()
    if answer.status != 200:
        raise RuntimeError(f"expected 200, got {answer.status}")


task = app.task(name="deliver")(deliver)


def main() -> None:
    """Work until the process is ended, or put events into the queue."""
    if sys.argv[1] == "put":
        for line in Path(sys.argv[2]).read_bytes().splitlines():
            task.delay(orjson.loads(line))
        return
    pool, workers = WORKERS[sys.argv[1]]
    # The worker's prefetch is this times its processes or threads.
    app.conf.worker_prefetch_multiplier = max(1, delivering.PREFETCH // workers)
    app.worker_main(
        [
            "worker",
            f"--pool={pool}",
            f"--concurrency={workers}",
            "--loglevel=WARNING",
            "--without-gossip",
            "--without-mingle",
        ]
    )


if __name__ == "__main__":
    main()
