"""When to try again, and what may be away: wait ladder, circuit breakers, outages."""
