"""TLS contexts of clients, from certificates and keys as PEM."""

import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


def tls_context(
    authorities: str | None, certificate: str | None = None, key: str | None = None
) -> ssl.SSLContext:
    """Of a client that checks the server's certificate and name. It trusts `authorities` and
    nobody else; without them, whom the system trusts. Reads files: keep it for many connections.
    Raises ssl.SSLError for what can't be used.
    """
    context = ssl.create_default_context(cadata=authorities)
    if certificate and key:
        show(context, certificate, key)
    return context


def show(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """From now on the client shows this certificate. Raises ssl.SSLError unless `key` is its key,
    and not encrypted."""
    with pem_file(key, certificate) as path:
        context.load_cert_chain(path, password="")  # else OpenSSL asks at the terminal


@contextmanager
def pem_file(*texts: str) -> Iterator[str]:
    """The path of a file with them, which nobody else may read, for as long as it is needed: some
    libraries take nothing else."""
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write("".join(texts).encode())
        file.flush()
        yield file.name
