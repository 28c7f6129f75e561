"""Polling consumers (EIP): ask a partner, take in what is new, move the cursor."""
