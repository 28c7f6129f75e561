"""What iQmetrix is told: states of orders, and stock counts."""
