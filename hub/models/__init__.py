"""Canonical data model (EIP): events, values and the order's recorded state. Imports nothing of ours."""
