"""What every child process of ours has in common: it doesn't outlive us."""

import ctypes
import random
import signal
import socket
import sys

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent() -> None:
    """For `preexec_fn`: the kernel kills this process when the thread that started it ends.

    So a SIGKILL of ours leaves no orphans. Linux only; elsewhere it does nothing.
    """
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listens on, below the range that outgoing connections are given, so
    that it is still free when the child is started again."""
    dice = random.Random()
    for _ in range(200):
        port = dice.randrange(15_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port between 15000 and 32000 on {host}")
