"""Policy types: one module per type, and the registry of them."""
