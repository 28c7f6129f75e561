"""What people do with orders and dead letters, without how they type it: one code for every front."""
