"""The summary window: the newest of every agent, what came of it over time, and how old it may be."""
