"""What is not as it should be with agents: found, kept, and told."""
