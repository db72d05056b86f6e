"""Durable sequences of records: frames, segments, the spool of whoever sends, the ranges of whoever receives."""
