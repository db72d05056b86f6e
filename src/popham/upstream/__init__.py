"""What a Manager and a Proxy Manager both do for the agents below them."""
