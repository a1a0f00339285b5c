"""A private authority, and what it certifies, as files that servers read."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import trustme

NAME = "broker.example.org"
"""Whom the servers' certificates are for; tests find it at 127.0.0.1."""


def text_of(*blobs: trustme.Blob) -> str:
    return "".join(str(blob.bytes(), "ascii") for blob in blobs)


def a_client_of(authority: trustme.CA, name: str = "someone") -> dict[str, str]:
    """Credentials: a certificate for a user of this name, with its key."""
    issued = authority.issue_cert(f"{name}@example.org", common_name=name)
    return {
        "client_certificate": text_of(*issued.cert_chain_pems),
        "client_key": text_of(issued.private_key_pem),
    }


@dataclass(frozen=True)
class Certified:
    """A server's files: its key, its certificate, and that of the authority, who also says who
    its clients are."""

    authority: trustme.CA
    key: Path
    certificate: Path
    ca: Path


def certified(within: Path, *names: str) -> Certified:
    """In a new folder there; for NAME unless other names are given."""
    folder = Path(tempfile.mkdtemp(prefix="tls-", dir=within))
    folder.chmod(0o711)
    authority = trustme.CA()
    issued = authority.issue_cert(*(names or (NAME,)))
    made = Certified(authority, folder / "key.pem", folder / "cert.pem", folder / "ca.pem")
    issued.private_key_pem.write_to_path(made.key)
    issued.cert_chain_pems[0].write_to_path(made.certificate)
    authority.cert_pem.write_to_path(made.ca)
    return made
