"""What a Manager is asked about rollouts, and told to do with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from popham.client.transport import Transport, segment


class RolloutCalls(Transport):
    """Rollouts: looking at them, pausing, halting, promoting and undoing them."""

    def rollouts(self, *, open_only: bool = False) -> list[dict[str, Any]]:
        """Return the newest rollouts, or the newest of those that are not over; older ones by name only."""
        return self._items("/rollouts", query={"open": "true"} if open_only else {})

    def rollout(self, name: str) -> dict[str, Any]:
        """Return one rollout, with what went wrong and who is waited for."""
        return self._call("GET", f"/rollouts/{segment(name)}")

    def steer_rollout(
        self, name: str, verb: str, *, reason: str = "", rollout: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Change a rollout; ``verb`` is pause, resume, halt, promote or undo.

        A reason is for pause and halt; ``rollout`` (``waves``, ``soak``, ``halt_on``) for the resuming of one that
        is held.
        """
        body = {key: value for key, value in (("reason", reason), ("rollout", rollout)) if value} or None
        return self._call("POST", f"/rollouts/{segment(name)}/{segment(verb)}", body=body)

    def halt_rollouts(self, *, reason: str = "") -> list[dict[str, Any]]:
        """Halt every rollout that runs or is paused; returns those it halted."""
        return self._items("/rollouts/halt", method="POST", body={"reason": reason})
