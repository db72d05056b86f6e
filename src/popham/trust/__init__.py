"""What may be believed: keys, envelopes, TUF, the CA, join strings, and the agent's checks."""
