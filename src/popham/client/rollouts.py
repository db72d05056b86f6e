"""What a Manager is asked about rollouts, and told to do with them."""

from __future__ import annotations

from typing import Any

from popham.client.transport import Transport, segment


class RolloutCalls(Transport):
    """Rollouts: looking at them, pausing, halting, promoting and undoing them."""

    def rollouts(self, *, open_only: bool = False) -> list[dict[str, Any]]:
        """Return all rollouts, the newest first, or those that are not over."""
        query = {"open": "true"} if open_only else {}
        found: list[dict[str, Any]] = self._call("GET", "/rollouts", query=query)["items"]
        return found

    def rollout(self, name: str) -> dict[str, Any]:
        """Return one rollout, with what went wrong and who is waited for."""
        return self._call("GET", f"/rollouts/{segment(name)}")

    def steer_rollout(self, name: str, verb: str, *, reason: str = "") -> dict[str, Any]:
        """Change a rollout; ``verb`` is pause, resume, halt, promote or undo; a reason is for pause and halt."""
        body = {"reason": reason} if reason else None
        return self._call("POST", f"/rollouts/{segment(name)}/{segment(verb)}", body=body)

    def halt_rollouts(self, *, reason: str = "") -> list[dict[str, Any]]:
        """Halt every rollout that runs or is paused; returns those it halted."""
        found: list[dict[str, Any]] = self._call("POST", "/rollouts/halt", body={"reason": reason})["items"]
        return found
