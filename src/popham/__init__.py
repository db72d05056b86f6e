"""Popham keeps a fleet of machines on its policies and brings their data back."""

__version__ = "0.8.0"
