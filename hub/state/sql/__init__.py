"""The state store's operations in SQL: plain functions of a connection, a file for each protocol."""
