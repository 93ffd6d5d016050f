"""The socket that the server listens on."""

import errno
import os
import socket

from tlcli.errors import ResourceError, UsageError


def listen(host: str, port: int) -> socket.socket:
    """Opens the socket, so that a port that is taken is known before the models are loaded.

    Raises:
        UsageError: there is no such host, or the port needs more rights.
        ResourceError: the port is in use.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # With a protocol of 0, asyncio would leave Nagle's algorithm on, which delays answers by 40 ms.
        opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except (OSError, UnicodeError) as error:
        raise UsageError(
            "usage.unknown_host", f"There is no address for --host {host:.100}.", "Use 127.0.0.1, or 0.0.0.0 for all."
        ) from error
    try:
        if os.name == "posix":  # a port whose last connections are still closing
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(1024)
    except OSError as error:
        opened.close()
        if error.errno == errno.EADDRINUSE:
            raise ResourceError(
                "resource.port_in_use", f"Port {port} on {host} is in use.", "Choose another one with --port."
            ) from error
        raise UsageError(
            "usage.cannot_listen", f"Port {port} on {host} cannot be opened: {error.strerror}.",
            "Choose a --port above 1023 and a --host of this machine.",
        ) from error  # fmt: skip
    return opened
