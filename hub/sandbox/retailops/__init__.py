"""The simulated RetailOps: the purchase orders of one vendor account."""
