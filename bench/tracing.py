"""What tracing costs a delivery: nanoseconds of the calls that one delivery makes, off and on.

python -m bench.tracing
"""

from __future__ import annotations

import time
import timeit

from hub.observability import tracing

ROUNDS = 5_000


def one_delivery() -> None:
    """The spans of one delivery: process, one publish, one partner call, the ids of two log lines."""
    if tracing.is_on():
        span = tracing.process(
            exchange="hub.orders",
            routing_key="order.created.iqmetrix",
            queue="hub.iqmetrix.update-order-status",
            message_id="m",
            attempt=1,
            carrier={"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
            previous="",
        )
    else:
        span = tracing.OFF
    with span as process:
        with tracing.publish("hub.orders", "order.created.iqmetrix", "m", carrier={}):
            tracing.headers()
        if tracing.is_on():
            call, _ = tracing.call("PUT", "partner", 443, "iqmetrix")
            call.end()
        tracing.ids()
        process.note("hub.order_id", "o")
        process.note("hub.outcome", "done")
        tracing.ids()


def nanoseconds() -> float:
    """The best of five, per delivery, in processor time of this thread."""
    return min(timeit.repeat(one_delivery, timer=time.thread_time, number=ROUNDS, repeat=5)) / ROUNDS * 1e9


def main() -> None:
    """Print a line each."""
    print(f"off  {nanoseconds():>8.0f} ns a delivery")
    from hub.observability import otlp

    # Nobody listens there: what is measured is the maker's side, and the queue drops what it cannot send.
    tracer, _ = otlp.tracer("http://127.0.0.1:9", sample_ratio=1, instance="bench", on_change=lambda _: None)
    tracing.begin(tracer)
    print(f"on   {nanoseconds():>8.0f} ns a delivery")


if __name__ == "__main__":
    main()
