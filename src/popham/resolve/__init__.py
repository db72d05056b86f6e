"""Which value holds for a group, and why; builds bundles. Pure: no store, no clock."""
