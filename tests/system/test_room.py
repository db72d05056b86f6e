"""Real processes: a Manager with one place for a link, and two agents."""


def test_f_p5_the_second_agent_pulls_says_so_and_has_the_link_once_the_first_is_gone(founding):
    fleet = founding().found("[limits]\nlinks = 1\n")
    fleet.group("web", heartbeat="2s")
    first = fleet.machine("first", "web")
    fleet.until(lambda: first.view["connected"], "the first holds a link")
    second = fleet.machine("second", "web")
    fleet.until(lambda: second.view["fallback"], "the second says why it pulls")
    fleet.publish("web", second, "aweigh")
    fleet.until(lambda: second.has("aweigh") and second.settled(), "the second is in sync")
    view = second.view
    assert (view["connected"], view["mode"], view["fallback"]) == (False, "pull", "link.full")
    assert "pull (link.full)" in fleet.popham("get", "agents").stdout
    told = "refused: the Manager's links are all taken; pulls every 2s; tries again in "
    fleet.until(lambda: told in second.popham("status").stdout, "the second says so on its machine")

    def said():
        status = second.status
        return (status["problem"], status["fallback"]) == ("", "link.full")

    fleet.until(said, "and to programs")  # not in the moment in which it asks again
    assert first.end() == 0
    fleet.until(lambda: not first.view["connected"], "the first is gone")
    assert second.end() == 0
    second.start()  # it would ask again by itself; one that starts asks at once
    alone = {"connected": True, "mode": "push", "fallback": ""}
    fleet.until(lambda: alone.items() <= second.view.items(), "the second holds the link")
