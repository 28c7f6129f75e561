"""Copies of messages that the hub makes: their headers, their signature, and the room they take."""
