"""The iQmetrix order feed, polled."""
