"""Proxy Managers: an agent that is an upstream too, between a Manager and agents that it does not reach itself."""
