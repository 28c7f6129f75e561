"""Publish with confirm, in the service and in a command."""
