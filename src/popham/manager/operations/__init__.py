"""Operations at the Manager: what is ordered of agents, how it reaches them, and what came of it."""
