"""Operations on a machine: what was ordered once, whether it was done, and what came of it."""
