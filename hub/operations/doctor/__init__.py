"""What `hub doctor` looks at: partners, pollers, state store."""
