"""The committed protobuf code is what the schema says."""

import subprocess
import sys

SCHEMA = "src/popham/opamp/schema"


def test_the_generated_code_is_what_make_proto_makes(root, tmp_path):
    protos = root / SCHEMA / "proto"
    names = sorted(path.relative_to(protos).as_posix() for path in protos.rglob("*.proto"))
    assert names, "there is no schema"
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", str(protos)]
    command += [f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", *names]
    subprocess.run(command, cwd=protos, check=True, capture_output=True, timeout=60)
    made = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert made
    stale = [
        path.relative_to(tmp_path).as_posix()
        for path in made
        if not (root / SCHEMA / path.relative_to(tmp_path)).is_file()
        or path.read_bytes() != (root / SCHEMA / path.relative_to(tmp_path)).read_bytes()
    ]
    assert not stale, f"run make proto: {stale}"
