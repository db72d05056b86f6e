"""Appliers' knowledge of policy types: one module per type that changes this machine."""
