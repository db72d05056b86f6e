"""Lean agents: many in one process, on real sockets, that say what agents say and apply nothing."""
