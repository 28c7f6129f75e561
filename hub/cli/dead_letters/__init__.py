"""`hub letters`: dead letters by fault, one in full, back to work, corrected, or removed."""
