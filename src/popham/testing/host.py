"""A machine whose surroundings a test decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from popham.model.criteria import Needs, Surroundings


class SimHost:
    """Sees what it is told to see.

    Attributes:
        around: What is around the machine now.
        looks: How often somebody looked.
        tells: Whether changes of the network are heard of at once.
    """

    def __init__(self, **around: Any) -> None:
        """Begin with these surroundings."""
        self.around = Surroundings(**around)
        self.looks = 0
        self.tells = True
        self._listeners: list[Callable[[], None]] = []

    @property
    def listeners(self) -> int:
        """How many hear of changes of the network."""
        return len(self._listeners)

    def put(self, **around: Any) -> None:
        """Change what is around, unheard."""
        self.around = replace(self.around, **around)

    def change(self, **around: Any) -> None:
        """Change what is around, as a change of the network."""
        self.put(**around)
        for listener in list(self._listeners):
            listener()

    async def look(self, wanted: Needs) -> Surroundings:
        """Return what is around."""
        del wanted
        self.looks += 1
        return self.around

    def watch(self, changed: Callable[[], None]) -> SimWatch | None:
        """Call ``changed`` at each change that is heard of."""
        if not self.tells:
            return None
        self._listeners.append(changed)
        return SimWatch(self._listeners, changed)


class SimWatch:
    """A listener of a :class:`SimHost`."""

    def __init__(self, listeners: list[Callable[[], None]], mine: Callable[[], None]) -> None:
        self._listeners = listeners
        self._mine = mine

    def close(self) -> None:
        """Hear no more."""
        self._listeners.remove(self._mine)
