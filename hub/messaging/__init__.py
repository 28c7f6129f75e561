"""Messaging patterns (EIP) without a broker: outcome, retry, dispatch, polling, publisher."""
