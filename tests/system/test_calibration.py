"""A calibration on this machine, small: every figure is measured, none is made up."""

from popham.model.measured import Connection, Measured
from popham.testing.calibration import Scale, calibrate


def test_f_o11_what_rounds_links_and_changes_cost_is_measured_on_this_machine():
    steps = []
    found = calibrate(steps.append, Scale(known=100, links=20, flights=8, seconds=0.2))
    assert len(steps) == 4
    assert Measured.from_dict(found.as_dict()) == found
    mutual = found.ways[Connection.MUTUAL]
    assert mutual.connect_us > mutual.heartbeat_us
    assert mutual.connect_bytes > mutual.heartbeat_bytes > 100
    assert found.change_bytes > mutual.heartbeat_bytes
    assert "popham bench --calibrate on" in found.source
