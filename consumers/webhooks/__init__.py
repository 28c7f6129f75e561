"""Webhooks to the clients' endpoints."""
