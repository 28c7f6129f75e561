"""What dead letters died of, and how they are grouped by it."""
