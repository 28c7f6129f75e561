"""The simulated iQmetrix: token service, order feed, status updates and availability."""
