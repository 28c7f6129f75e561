"""The databases under the state store: SQLite and PostgreSQL, group commit, migrations."""
