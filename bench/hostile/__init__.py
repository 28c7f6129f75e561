"""Hostile input for every way into the hub, as large as it is taken: ``bench.budget`` measures each."""
