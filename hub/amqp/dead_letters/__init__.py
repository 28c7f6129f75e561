"""Dead letters: one with what is known of its death, and the queues that hold them."""
