"""The agent's certificate and key as files, for a moment: the standard library reads them from nowhere else."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from popham.statedir import UNFINISHED


@contextmanager
def chain_files(folder: Path, certificate: bytes, key: bytes) -> Iterator[tuple[Path, Path]]:
    """Write certificate and key, as PEM, where only this user sees them; both are gone afterwards.

    Args:
        folder: The agent's state directory.
        certificate: The certificate.
        key: Its private key.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix=UNFINISHED) as made:
        paths = Path(made) / "cert.pem", Path(made) / "key.pem"
        paths[0].write_bytes(certificate)
        paths[1].touch(mode=0o600)
        paths[1].write_bytes(key)
        yield paths
