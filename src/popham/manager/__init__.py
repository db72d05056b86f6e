"""The Manager: holds policies for groups, signs them, and knows what each machine has."""
