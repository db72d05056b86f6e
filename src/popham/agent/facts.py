"""What an agent tells of its machine."""

from __future__ import annotations

import platform
import socket


def find_facts() -> dict[str, str]:
    """Return what is told of this machine, under OpenTelemetry's names."""
    return {
        "host.name": socket.gethostname(),
        "host.arch": platform.machine(),
        "os.type": platform.system().lower(),
        "os.version": platform.release(),
    }
