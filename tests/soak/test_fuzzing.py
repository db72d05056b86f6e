"""Decoders against any bytes: the kept inputs each time, new ones in ``make soak``."""

import os
import pathlib
import runpy
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent
CORPUS = HERE / "corpus"
TARGETS = runpy.run_path(str(HERE / "targets.py"))["TARGETS"]
SECONDS = int(os.environ.get("POPHAM_FUZZ_SECONDS", "20"))
"""Seconds per target."""


def test_every_target_has_kept_inputs():
    assert {folder.name for folder in CORPUS.iterdir()} == set(TARGETS)
    assert all(any(folder.iterdir()) for folder in CORPUS.iterdir())


@pytest.mark.parametrize("name", TARGETS)
def test_rel_13_every_kept_input_is_read_or_refused(name):
    for path in sorted((CORPUS / name).iterdir()):
        data = path.read_bytes()
        TARGETS[name](data)
        TARGETS[name](data[:-1])
        TARGETS[name](data + data)


@pytest.mark.soak
@pytest.mark.parametrize("name", TARGETS)
def test_rel_13_whatever_is_sent_is_read_or_refused(name, tmp_path):
    """What fails is kept in the target's corpus, so that the test above finds it from then on."""
    pytest.importorskip("atheris", reason="atheris is not installed; it has wheels for some platforms only")
    command = [sys.executable, str(HERE / "fuzz.py"), name, str(tmp_path), str(CORPUS / name)]
    options = [
        f"-max_total_time={SECONDS}",
        "-max_len=8192",
        "-timeout=5",
        "-rss_limit_mb=1024",
        f"-artifact_prefix={CORPUS / name}/found-",
    ]
    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, timeout=SECONDS * 3 + 60, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
