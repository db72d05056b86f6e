"""Fleets in virtual time, for those who watch them under attack."""

from tests.simulation.conftest import keys, simulate

__all__ = ["keys", "simulate"]
