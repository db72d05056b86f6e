"""Real processes: a list of servers, one of which is not there, and settings by the time of day."""

GROUP = """
apiVersion: popham/v1
kind: Group
metadata: {{name: web}}
spec:
  inheritance: {{communication: false}}
  communication: {settings}
"""


def test_f_c8_an_agent_passes_over_a_server_that_is_gone_and_says_where_it_is(founding):
    fleet = founding().found()
    url = f"https://{fleet.host}:{fleet.agents_port}"
    gone = f"https://{fleet.host}:9"
    servers = f"servers: [{{url: '{gone}'}}, {{url: '{url}', priority: 2}}]"
    settings = f"{{preset: Push, heartbeat: 2s, spread: off, {servers}}}"
    fleet.apply(GROUP.format(settings=settings))
    machine = fleet.machine("first", "web")
    well = {"server": url, "servers": [gone, url], "fallback": "", "mode": "push"}
    fleet.until(
        lambda: machine.view["connected"] and well.items() <= machine.status.items(), "it is connected"
    )
    assert f"{url}, of {gone}, {url}" in machine.popham("status").stdout
    fleet.apply(GROUP.format(settings=settings.replace(url, gone.replace(":9", ":19"))))
    # The address of the join string is left.
    left = {"fallback": "link.servers", "connected": True}
    fleet.until(lambda: left.items() <= machine.view.items(), "nobody of the list answers")
    fleet.until(lambda: "none of it answers" in machine.popham("status").stdout, "it says so")


def test_f_c7_a_period_and_a_metered_link_hold_on_the_machine(founding):
    fleet = founding().found()
    pull = "{preset: Push, spread: off, heartbeat: 2s, times: [{from: 00:00, to: 24:00, mode: pull}]}"
    fleet.apply(GROUP.format(settings=pull))
    one = fleet.machine("one", "web")
    fleet.until(lambda: one.view["mode"] == "pull" and not one.view["connected"], "it pulls all day")
    metered = "{preset: Push, spread: off, heartbeat: 2s, times: null, metered: {mode: pull}}"
    fleet.apply(GROUP.format(settings=metered))
    two = fleet.machine("two", "web", run=False)
    two.config.write_text("metered = true\n" + two.config.read_text())
    two.start()
    fleet.until(lambda: one.view["mode"] == "push", "one's link costs nothing")
    fleet.until(lambda: two.view["mode"] == "pull", "two's does")
    assert "network:        metered" in two.popham("status").stdout
