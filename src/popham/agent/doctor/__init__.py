"""``popham agent doctor``: everything that an agent needs is tried on its machine, for real, and told with a next step."""
