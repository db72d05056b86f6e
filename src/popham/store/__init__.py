"""The Manager's database: one seam, several fillings, one conformance suite."""
