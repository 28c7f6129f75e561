"""How full the queues are, and whether the broker is as the hub needs it."""
