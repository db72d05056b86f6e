"""What runs on a machine: applies what the group is to have, and reports what came of it."""
