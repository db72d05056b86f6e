"""What the fleet of ``make demo`` is: its agents, their groups and cells, and the definitions of all that."""

from __future__ import annotations

from pathlib import Path

MACHINES = {"web-1": "web", "till-1": "tills", "vault-1": "vaults", "gate-1": "gates"}
"""Agent → its group."""
HEARTBEAT = 3
"""Seconds between rounds of the agents that pull; short, so that nobody waits for a demo."""
CELLS = {
    "web": ("servers", "Push", 30),
    "tills": ("branches", "Pull by heartbeat", HEARTBEAT),
    "vaults": ("closed", "Pull by visit", HEARTBEAT),
    "gates": ("closed", "Push over the Manager's connection", 30),
}
"""Group → its parent, how its agents get in touch, and their heartbeat in seconds."""
LOG = "deck.log"
"""Name of the file on each machine that its agent follows."""

_PARENT = """\
---
apiVersion: popham/v1
kind: Group
metadata: {{name: {parent}}}
spec: {{parent: fleet}}
"""
_LEAF = """\
---
apiVersion: popham/v1
kind: Policy
metadata: {{name: motd-{group}}}
spec:
  type: files
  files:
    - path: {path}
      mode: "0644"
      content: |
        {text}
---
apiVersion: popham/v1
kind: Policy
metadata: {{name: watch-{group}}}
spec:
  type: collect
  interval: 1s
  summary: {{interval: 1s}}
  metrics: {{cpu: true, memory: true, network: true}}
  logs:
    - name: deck
      paths: [{log}]
      from: beginning
  probes:
    - {{name: nobody, tcp: "127.0.0.1:1", interval: 1s, timeout: 1s}}
---
apiVersion: popham/v1
kind: Group
metadata: {{name: {group}}}
spec:
  parent: {parent}
  inheritance: {{communication: false, policies: {{files: false, collect: false}}}}
  communication: {{preset: "{preset}", heartbeat: {heartbeat}s}}
  policies: {{files: motd-{group}, collect: watch-{group}}}
"""


def define(folder: Path, text: str) -> str:
    """Return the definitions of the groups and policies as YAML, with ``text`` in every file.

    Args:
        folder: Has a folder of each machine below ``machines``.
        text: One line.
    """
    parts = [_PARENT.format(parent=parent) for parent in dict.fromkeys(p for p, _, _ in CELLS.values())]
    for group in MACHINES.values():
        parent, preset, heartbeat = CELLS[group]
        machine = folder / "machines" / group
        parts.append(
            _LEAF.format(
                group=group,
                parent=parent,
                preset=preset,
                heartbeat=heartbeat,
                path=machine / "motd",
                log=machine / LOG,
                text=text,
            )
        )
    return "".join(parts)
