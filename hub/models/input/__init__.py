"""Input of strangers: how it is read exactly, how much of it is taken, and what of it may be shown."""
