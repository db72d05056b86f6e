"""Public tools for tests: virtual time, a memory network, a simulator."""
