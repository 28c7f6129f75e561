"""What commands print and ask: tables, JSON, progress, questions."""
