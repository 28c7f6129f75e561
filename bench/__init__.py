"""Benchmarks of the hub as it is run: `hub run` in a process of its own, a private broker, simulated partners.

Each prints a table and ends with status 1 when a limit of its own is missed. They are not part of `make test`: what
they measure depends on the machine, and they take minutes.
"""
