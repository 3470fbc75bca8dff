"""Asks the service on this machine whether it is ready: the health check of the images, which have no curl.

Run by its path (``python -I -S service/probe.py``), so it imports the standard library's sockets and nothing else: a
check every few seconds must cost less than what it checks.
"""

import socket
import sys

PORT = 8000
TIMEOUT_SECONDS = 2.0
REQUEST = b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def ask(port: int) -> tuple[bool, str]:
    """Ask a service on the loopback interface.

    Parameters
    ----------
    port : int

    Returns
    -------
    ready : bool
        Whether it answered 200.
    answer : str
        The answer's body, or why there is none.
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
    is_ready, answer = ask(int(sys.argv[1]) if len(sys.argv) > 1 else PORT)
    print(answer)  # noqa: T201  kept by the container's engine, beside the check's outcome
    sys.exit(not is_ready)
