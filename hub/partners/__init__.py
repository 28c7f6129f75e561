"""One folder per partner: client (calls), wire (their shapes), translate (theirs to ours and back)."""
