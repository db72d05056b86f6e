"""The only loop: session, transport and clock brought together."""
