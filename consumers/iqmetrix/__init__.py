"""Reports to iQmetrix: states of orders, and stock counts."""
