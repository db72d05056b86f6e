"""Logs and metrics of agents: from the intake's segments to Parquet files by day, and back to people."""
