"""Lines of logs on their way between real processes, in all four cells: each is stored once, whatever happens."""

import json
import os
import shutil
import signal

import pytest

from .data_lab import CELLS, Lab, Storm, numbered

KILLS = 20
ODD = (b"before", b"nul \x00 \x00 bytes", b"broken \xff\xfe utf-8 \xc3", "für Größe \U0001f6a2".encode(), b"after")
READ = ("before", "nul \x00 \x00 bytes", "broken \ufffd\ufffd utf-8 \ufffd", "für Größe \U0001f6a2", "after")
GIANT = 20 * 1024 * 1024


@pytest.fixture(scope="module")
def lab(fleet):
    """A machine in each cell."""
    found = Lab(fleet)
    for name in CELLS:
        found.add(name)
    fleet.until(lambda: all(one.settled() for one in found.machines.values()), "each has what it should have")
    return found


@pytest.mark.parametrize("name", CELLS)
def test_rel_27_a_log_that_is_rotated_while_it_is_read_comes_whole_and_once(lab, name):
    """By rename, with a writer that goes on for a while with what it has open, and by copying and truncating."""
    log = lab.log(name)
    lab.count_on(name, 50)
    with log.open("ab") as old:
        log.rename(log.with_suffix(".1"))
        lab.count_on(name, 50)
        late = range(lab.written[name], lab.written[name] + 50)
        lab.written[name] += 50
        old.write(b"".join(numbered(number).encode() + b"\n" for number in late))
    lab.check_counted(name)
    shutil.copy(log, log.with_suffix(".2"))
    os.truncate(log, 0)
    lab.count_on(name, 50)
    assert len(lab.check_counted(name)) == lab.written[name]
