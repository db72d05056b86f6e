"""What a Manager is asked about its agents, and told to do with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from popham.client.transport import Transport, segment


class AgentCalls(Transport):
    """Agents: looking at them, admitting, moving and calling them."""

    def agents(self, *, group: str | None = None, selector: str = "") -> list[dict[str, Any]]:
        """Return all agents, or those of one group, or with such labels."""
        asked = {"group": group or "", "selector": selector}
        return list(self._pages("/agents", {key: value for key, value in asked.items() if value}))

    def agent(self, ref: str) -> dict[str, Any]:
        """Return one agent by name or uid, with detail."""
        return self._call("GET", f"/agents/{segment(ref)}")

    def explain(self, ref: str, *, setting: str = "", location: str = "") -> dict[str, Any]:
        """Return where an agent's values come from."""
        query = {key: value for key, value in (("setting", setting), ("location", location)) if value}
        return self._call("GET", f"/agents/{segment(ref)}/explain", query=query)

    def why(self, ref: str) -> dict[str, Any]:
        """Return why an agent is where it is, and the next step."""
        return self._call("GET", f"/agents/{segment(ref)}/why")

    def admit(self, ref: str, verb: str) -> dict[str, Any]:
        """Change an agent's admission; ``verb`` is accept, refuse or revoke."""
        return self._call("POST", f"/agents/{segment(ref)}/{segment(verb)}")

    def move(self, ref: str, group: str) -> dict[str, Any]:
        """Put an agent into another group."""
        return self._call("POST", f"/agents/{segment(ref)}/move", body={"group": group})

    def label(self, ref: str, labels: Mapping[str, str | None]) -> dict[str, Any]:
        """Set an operator's labels of an agent; None takes one away."""
        return self._call("PATCH", f"/agents/{segment(ref)}/labels", body={"labels": dict(labels)})

    def dial(self, ref: str, by: str, *, may_dial: bool = False) -> dict[str, Any]:
        """Say who dials an agent: ``by`` is manager, agent, or group for what its group's settings say."""
        return self._call("PATCH", f"/agents/{segment(ref)}/dial", body={"by": by, "may_dial": may_dial})

    def agent_definitions(self) -> list[dict[str, Any]]:
        """Return where agents are visited, by name; never their passwords."""
        return list(self._pages("/agent-definitions", {}))

    def agent_definition(self, name: str) -> dict[str, Any]:
        """Return one definition, without its passwords."""
        return self._call("GET", f"/agent-definitions/{segment(name)}")

    def delete_agent_definition(self, name: str) -> None:
        """Delete a definition; the agent stays, and is not visited there any more."""
        self._call("DELETE", f"/agent-definitions/{segment(name)}")

    def import_agentlist(self, text: str, *, name: str, dry_run: bool = False) -> dict[str, Any]:
        """Make definitions of an agentlist.cfg; ``name`` is the file's, for messages."""
        query = {"dry_run": "true" if dry_run else "false"}
        return self._call("POST", "/agent-definitions/import", body={"text": text, "name": name}, query=query)

    def check_in(
        self,
        refs: Sequence[str] = (),
        *,
        group: str | None = None,
        selector: str = "",
        everyone: bool = False,
    ) -> list[dict[str, Any]]:
        """Ask agents for a round now; returns who was asked and who waits until when."""
        body: dict[str, Any] = {"agents": list(refs), "group": group, "all": everyone}
        if selector:
            body["selector"] = selector
        return self._items("/check-ins", method="POST", body=body)
