"""The state store: cursors, orders, effects, timeline, leases. SQLite by default, PostgreSQL by URL."""
