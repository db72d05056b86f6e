"""What operations are done with on a running agent (F.O4)."""

import sys
from types import SimpleNamespace

import pytest

from popham.agent.operations.work import Work
from popham.agent.settings import AgentSettings
from popham.errors import OperationError


@pytest.fixture
def work(tmp_path):
    """Return the parts of an agent that note what is asked of them, and what was."""
    asked = []

    def noting(name):
        async def note(*arguments):
            asked.append((name, *arguments))

        return note

    async def run(name, _kept):
        asked.append(("run", name))

    parts = Work(
        AgentSettings(),
        tmp_path / "agent.toml",
        None,
        None,
        end=SimpleNamespace(
            check_in=lambda: asked.append("check-in"),
            tell_facts=lambda facts: asked.append(("facts", facts)),
            fetch=SimpleNamespace(dials=lambda: True),
            release=lambda: asked.append("send"),
        ),
        enforcer=None,
        applier=SimpleNamespace(programs=SimpleNamespace(run=run)),
        drift=SimpleNamespace(scan=noting("scan")),
        locator=SimpleNamespace(look_now=noting("look")),
        ways=SimpleNamespace(dial=lambda: SimpleNamespace(upload=noting("upload"))),
        facts=lambda: {"host.name": "web"},
        status=dict,
        journal=list,
        collection=SimpleNamespace(look_now=noting("collect"), look_again=lambda: asked.append("paused")),
    )
    return parts.means(rotate=noting("rotate"), restart=lambda: asked.append("restart")), asked


async def test_f_o4_a_collection_looks_anew_at_everything_and_sends_what_it_found(work):
    means, asked = work
    await means.collect()
    assert asked == [("facts", {"host.name": "web"}), ("scan",), ("look",), ("collect",), "send"]


def test_f_o4_who_collects_hears_of_a_pause(work):
    means, asked = work
    means.paused()
    assert asked == ["paused"]


async def test_f_o4_an_output_goes_to_its_own_path_on_the_way_in_use(work):
    means, asked = work
    await means.upload("ab", b"body")
    assert (means.dials(), asked) == (True, [("upload", "/v1/outputs/ab", b"body")])


def test_f_o4_a_program_that_is_gone_is_not_ended_to_begin_anew(work, monkeypatch, tmp_path):
    means, asked = work
    means.restart()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))
    with pytest.raises(OperationError, match="not to be had") as caught:
        means.restart()
    assert (caught.value.code, asked) == ("operation.restart", ["restart"])
