"""The life of a process: its first signals, its event loop, and the order in which it stops."""
