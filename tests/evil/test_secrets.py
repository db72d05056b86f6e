"""What a proxy keeps of policies with secrets: in clear, as long as they are not sealed, and where nobody else reads."""

import json
import logging
import stat

from tests.simulation.conftest import HEARTBEAT, LAB

from popham.testing.virtual import pass_time

CANARY = "canary-7f3a9c"


def test_sec_28_a_proxy_keeps_bodies_for_itself_and_says_nothing_of_what_is_in_them(simulate, caplog):
    caplog.set_level(logging.DEBUG)

    async def story(simulation):
        await simulation.manager.publish(LAB.format(text="begin"))
        dock = await simulation.add_proxy("dock", ["lab"])
        await pass_time(5.0)
        await simulation.add_agents("lab", ["a0"], via="dock")
        await simulation.manager.publish(LAB.format(text=CANARY))
        await pass_time(4 * HEARTBEAT)
        root = dock._directory.root
        for path in (root, *root.rglob("*")):
            mode = stat.S_IMODE(path.stat().st_mode)
            assert mode & 0o077 == 0, (path, oct(mode))
        holding = {
            path.relative_to(root).parts[:3] for path in files(root) if CANARY.encode() in path.read_bytes()
        }
        assert {parts[:2] for parts in holding} == {("relay", "cache")}
        assert {parts[2] for parts in holding} == {"bodies"}
        said = [dock.downlink.uplink._describe().decode(), json.dumps(dock.downlink.describe(), default=str)]
        status = simulation.manager.live.relayed.status(dock.state.uid)
        assert status
        assert CANARY not in json.dumps([*said, dict(status)])

    simulate(story)
    assert CANARY not in caplog.text


def files(root):
    """Return the files below a directory."""
    return [path for path in root.rglob("*") if path.is_file()]
