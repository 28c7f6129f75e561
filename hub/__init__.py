"""The dropship hub: everything that producers and consumers share."""
