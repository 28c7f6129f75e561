"""What RetailOps is told of purchase orders and stock, and what a person must do there."""
