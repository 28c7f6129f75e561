"""RetailOps: purchase orders that a vendor fetches, and what the vendor tells RetailOps back."""
