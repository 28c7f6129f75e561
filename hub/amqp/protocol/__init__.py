"""What changes the client library: frames, tables and properties read in one pass."""
