"""How the database came to its present form, one revision after the other.

A revision that was released is never changed: databases of its form exist.
"""
