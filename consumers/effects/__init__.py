"""Partner calls made once: claims, batches, one at a time for a key, one event for many accounts."""
