"""What went wrong with a connection, as a stable code."""

import errno
import ssl

_UNREACHABLE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN}


def network_code(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return "tls_error"
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, ConnectionRefusedError):
        return "connection_refused"
    if isinstance(error, ConnectionError):
        return "connection_reset"
    return "network_unreachable" if error.errno in _UNREACHABLE else "network_error"
