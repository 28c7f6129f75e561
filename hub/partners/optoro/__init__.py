"""Optoro-style webhooks: the hub is the sender; the receivers are the clients' endpoints."""
