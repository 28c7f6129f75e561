"""RetailOps purchase orders, polled."""
