"""Who opens connections, for one agent."""

import pytest

from popham.agent.dialing import AWAITED, FIRST, settings_for
from popham.model.communication import Cell, CommunicationSettings, Dialer, Mode
from popham.model.schedule import Override, Period
from popham.trust.assignment import Assignment

NIGHT = Period(
    days=(0,), begin=0, end=60, override=Override(mode=Mode.PULL, dialer=Dialer.AGENT, heartbeat=60.0)
)
METERED = Override(dialer=Dialer.AGENT, heartbeat=3600.0)


def assigned(**says):
    return Assignment(uid="u", spki_sha256="s", group="g", seq=1, issued=1, **says)


def every(settings):
    """Return what holds at any time and on any link."""
    times = [settings, *(settings.under(period.override) for period in settings.times)]
    return times + [one.under(settings.metered) for one in times if settings.metered]


@pytest.mark.parametrize("dialer", list(Dialer))
def test_an_assignment_without_a_word_about_it_leaves_settings_as_they_are(dialer):
    settings = CommunicationSettings(dialer=dialer, times=(NIGHT,), metered=METERED)
    assert settings_for(settings, assigned(), walled=False) is settings
    assert settings_for(settings, None, walled=False) is settings


@pytest.mark.parametrize("dialer", list(Dialer))
@pytest.mark.parametrize("mode", list(Mode))
def test_f_c3_an_assignment_decides_at_all_times_and_on_all_links(dialer, mode):
    settings = CommunicationSettings(mode=mode, times=(NIGHT,), metered=METERED)
    found = settings_for(settings, assigned(dialer=dialer), walled=False)
    assert {one.dialer for one in every(found)} == {dialer}
    assert found.mode is mode
    assert not found.never_dial
    assert [one.heartbeat for one in every(found)] == [one.heartbeat for one in every(settings)]


@pytest.mark.parametrize("says", [{}, {"dialer": Dialer.AGENT}, {"dialer": Dialer.MANAGER}])
def test_f_l12_who_was_born_by_a_visit_opens_nothing_whatever_is_said_but_that_it_may(says):
    settings = CommunicationSettings(times=(NIGHT,), metered=METERED, data=Cell(dialer=Dialer.AGENT))
    found = settings_for(settings, assigned(**says), walled=True)
    assert {one.dialer for one in every(found)} == {Dialer.MANAGER}
    assert all(one.never_dial for one in every(found))
    assert found.dialers == {Dialer.MANAGER}


def test_f_l12_an_assignment_that_lets_it_dial_ends_that():
    settings = CommunicationSettings()
    assert settings_for(settings, assigned(may_dial=True), walled=True) is settings
    dialled = settings_for(settings, assigned(may_dial=True, dialer=Dialer.MANAGER), walled=True)
    assert (dialled.dialer, dialled.never_dial) == (Dialer.MANAGER, False)


def test_f_l12_before_any_bundle_it_waits_for_the_next_visit():
    assert settings_for(None, None, walled=True) is AWAITED
    assert (AWAITED.mode, AWAITED.dialer, AWAITED.never_dial) == (Mode.PULL, Dialer.MANAGER, True)
    assert settings_for(None, assigned(), walled=False) is FIRST
    assert settings_for(None, assigned(may_dial=True), walled=True) is FIRST


def test_a_setting_that_forbids_dialling_holds_with_any_assignment():
    settings = CommunicationSettings(dialer=Dialer.MANAGER, never_dial=True)
    assert settings_for(settings, assigned(may_dial=True), walled=True).never_dial
    assert settings_for(settings, assigned(dialer=Dialer.MANAGER), walled=False).never_dial
