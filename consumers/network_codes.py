"""What went wrong with a connection, as a stable code."""

import errno
import ssl

_UNREACHABLE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN}
_RESET = {errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE}


def network_code(error: OSError) -> str:
    """By its number, too: libraries have classes of their own, which aren't Python's for it."""
    if isinstance(error, ssl.SSLError):
        return "tls_error"
    if isinstance(error, TimeoutError) or error.errno == errno.ETIMEDOUT:
        return "timeout"
    if isinstance(error, ConnectionRefusedError) or error.errno == errno.ECONNREFUSED:
        return "connection_refused"
    if isinstance(error, ConnectionError) or error.errno in _RESET:
        return "connection_reset"
    return "network_unreachable" if error.errno in _UNREACHABLE else "network_error"
