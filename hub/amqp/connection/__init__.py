"""One connection to the broker, how it is lost, and what the broker refuses."""
