"""OpAMP v0.20: schema, codec, and both ends of a session, without I/O or clock."""
