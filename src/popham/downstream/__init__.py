"""What an Agent and a Proxy Manager both do towards their upstream."""
