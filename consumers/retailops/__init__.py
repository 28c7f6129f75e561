"""Reports to RetailOps about purchase orders and stock, and what a person must do there."""
