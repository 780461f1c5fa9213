"""Prints COUNT free TCP ports of 127.0.0.1, the first ones from BASE on.

Ports that the system hands out to outgoing connections (32768 to 60999 by Linux's default) are left
alone: one that is free now can be an outgoing connection's a moment later.
"""

import socket
import sys

EPHEMERAL = range(32768, 61000)


def is_free(port):
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(base, count):
    """The first `count` free ports from `base` on."""
    found = []
    for port in range(base, 65536):
        if port not in EPHEMERAL and is_free(port):
            found.append(port)
            if len(found) == count:
                return found
    raise SystemExit(f"fewer than {count} free ports from {base} on")


if __name__ == "__main__":
    print(*free_ports(int(sys.argv[1]), int(sys.argv[2])))
