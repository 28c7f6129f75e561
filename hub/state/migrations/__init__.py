"""Alembic scripts of the state store; run by ``hub.state.engine.migrate``."""
