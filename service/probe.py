"""Health check of the container images, which have no curl: ``python -I -S service/probe.py [PORT]``.

It runs every few seconds, so it imports only the socket module of the standard library.
"""

import socket
import sys

PORT = 8000
TIMEOUT_SECONDS = 2.0
REQUEST = b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def check_readiness(port: int) -> tuple[bool, str]:
    """Request the readiness of a service on the loopback interface.

    Parameters
    ----------
    port : int

    Returns
    -------
    ready : bool
        Whether the status is 200.
    answer : str
        Body of the response, or the error.
    """
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS) as connection:
            connection.sendall(REQUEST)
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
    except OSError as error:
        return False, f"port {port}: {error}"
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.startswith(b"HTTP/1.1 200 "), (body or head).decode(errors="replace")


if __name__ == "__main__":
    is_ready, answer = check_readiness(int(sys.argv[1]) if len(sys.argv) > 1 else PORT)
    print(answer)  # noqa: T201  the container engine stores the output
    sys.exit(not is_ready)
