"""A webhook client as a local server: authentication, strict validation, a memory for deliveries."""
