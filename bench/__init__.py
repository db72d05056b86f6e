"""What is measured, and against what; one module per scenario."""
