"""The agent's certificate and key as files, for a moment: the standard library reads them from nowhere else."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from popham.net.tls import client_context
from popham.statedir import UNFINISHED
from popham.trust.identity import load_certificate, read_identity


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


def dialing_context(folder: Path, *, ca: bytes, certificate: bytes, key: bytes, now: float) -> ssl.SSLContext:
    """Return the context by which an agent dials, which shows its certificate.

    An expired one is not shown; it serves, in a message, for renewal only.

    Args:
        folder: The agent's state directory.
        ca: The fleet's authority.
        certificate: The agent's certificate.
        key: Its private key.
        now: Wall time.
    """
    with chain_files(folder, certificate, key) as files:
        expired = read_identity(load_certificate(certificate)).not_after <= now
        return client_context(ca.decode(), *((None, None) if expired else files))
