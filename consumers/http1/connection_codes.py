"""What went wrong with a connection to a receiver: of TLS, on which side to look."""

import ssl

from event_router.consumers.network_codes import network_code
from event_router.schemas.errors import Answer, Unavailable

# X509_V_ERR_… of OpenSSL's x509_vfy.h.
_OF_THEIR_CERTIFICATE = {
    10: "tls_certificate_expired",
    62: "tls_name_mismatch",
    64: "tls_name_mismatch",  # of an address
} | dict.fromkeys((2, 18, 19, 20, 21), "tls_unknown_authority")

# Alerts with which a server refuses a client's certificate, or the lack of one (RFC 8446, 6.2).
_OF_OUR_CERTIFICATE = (
    "ALERT_ACCESS_DENIED",
    "ALERT_BAD_CERTIFICATE",
    "ALERT_CERTIFICATE",  # _EXPIRED, _REQUIRED, _REVOKED, _UNKNOWN
    "ALERT_DECRYPT_ERROR",
    "ALERT_UNKNOWN_CA",
    "ALERT_UNSUPPORTED_CERTIFICATE",
)


def connection_code(error: OSError) -> str:
    """As `network_code`, but for `tls_error`, of which it knows more."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _OF_THEIR_CERTIFICATE.get(error.verify_code, "tls_error")
    reason = error.reason or "" if isinstance(error, ssl.SSLError) else ""
    if any(alert in reason for alert in _OF_OUR_CERTIFICATE):
        return "tls_client_certificate"
    return network_code(error)


def broken(error: OSError, detail: str) -> Unavailable:
    """People see what was wrong with TLS where the server's answer would stand."""
    code = connection_code(error)
    said = str(error).encode() if isinstance(error, ssl.SSLError) else b""
    return Unavailable(code, detail, answer=Answer(code, body=said))
