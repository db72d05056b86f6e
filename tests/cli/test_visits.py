"""What the command line shows of visits: where, when, and why one failed."""

VISIT = {
    "url": "https://192.0.2.7:23440", "http_proxy": "", "definition": "web-1", "mode": "pull", "interval": 600.0,
    "last": 1_800_000_000.0, "next": 1_800_000_600.0, "since": 1_799_999_000.0, "failures": 0,
    "code": "", "problem": "", "hint": "",
}  # fmt: skip
FAILED = VISIT | {
    "failures": 12, "code": "visit.refused", "problem": "nothing listens on port 23440",
    "hint": "Start it: popham agent service start",
}  # fmt: skip


def test_describe_agent_shows_where_and_when_it_is_visited_and_how_old_what_is_shown_may_be(
    popham, manager, agent
):
    shown = agent(1, visit=VISIT, service="https://*:23440", dialer="manager", age_bound=900.0)
    manager.on("GET /agents/web-1", shown)
    lines = popham("describe", "agent", "web-1").stdout.splitlines()
    said = {line.split(":", 1)[0].strip(): line.split(":", 1)[1].strip() for line in lines if ":" in line}
    assert said["service"] == "https://*:23440"
    assert (said["age"], said["age bound"]) == ("12s ago", "15m")
    assert said["url"] == "https://192.0.2.7:23440"
    assert (said["interval"], said["last"], said["next"]) == (
        "10m",
        "2027-01-15T08:00:00Z",
        "2027-01-15T08:10:00Z",
    )
    assert "fails" not in said


def test_describe_agent_shows_why_visits_fail_since_when_and_how_often(popham, manager, agent):
    detail = {"unvisited": "its group wants the Manager to dial, and visits fail", "unvisited_step": "Do it"}
    manager.on("GET /agents/web-1", agent(1, visit=FAILED, fallback="visit.missed", detail=detail))
    said = popham("describe", "agent", "web-1").stdout
    assert "since 2027-01-15T07:43:20Z, 12 times: nothing listens on port 23440 (visit.refused)" in said
    assert "Start it: popham agent service start" in said
    assert "its group wants the Manager to dial, and visits fail" in said
    assert "unvisited step" not in said


def test_describe_agent_says_that_it_is_visited_where_no_link_can_be_held(popham, manager, agent):
    through_cgi = VISIT | {"code": "visit.cgi", "problem": "this is CGI", "hint": "Use a reverse proxy"}
    manager.on("GET /agents/web-1", agent(1, visit=through_cgi))
    said = popham("describe", "agent", "web-1").stdout
    assert "visited in its place: this is CGI (visit.cgi)" in said
    assert "fails" not in said


def test_the_wide_list_of_agents_shows_visits(popham, manager, agent):
    manager.on("GET /agents", {"items": [agent(1, visit=FAILED), agent(2, visit=None)], "cursor": ""})
    _, first, second = popham("get", "agents", "-o", "wide").stdout.splitlines()
    assert first.split()[-4:] == [
        "https://192.0.2.7:23440",
        "2027-01-15T08:00:00Z",
        "2027-01-15T08:10:00Z",
        "visit.refused",
    ]
    assert second.split()[-4:] == ["-", "-", "-", "-"]
