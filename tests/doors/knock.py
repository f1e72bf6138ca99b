"""Run as somebody without any right: what each door gives. Reads doors as JSON from standard input, writes answers.

Needs nothing but the standard library: the user that it runs as may not be able to read anything else.
"""

import json
import os
import socket
import ssl
import sys
from concurrent.futures import ThreadPoolExecutor

PATHS = (
    "/", "/metrics", "/stats/prometheus", "/config_dump", "/server_info", "/readyz", "/cluster/status", "/dir/status",
    "/dir/assign", "/status", "/col/delete?collection=none-such", "/buckets/", "/api/v2/dags", "/api/v2/variables",
    "/execution/", "/log/", "/api/2.0/mlflow/experiments/search?max_results=1", "/graphql", "/recommend", "/docs",
)  # fmt: skip
TIMEOUT = 1.5
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
START_UP = b"user\x00postgres\x00database\x00postgres\x00\x00"


def connect(door):
    if door["kind"] == "unix":
        one = socket.socket(socket.AF_UNIX)
        one.settimeout(TIMEOUT)
        one.connect(door["where"])
        return one
    host, _, port = door["where"].rpartition(":")
    address = host if host.startswith("127.") else "127.0.0.1"
    return socket.create_connection((address, int(port)), timeout=TIMEOUT)


def say(door, text, tls=False):
    """What comes back, at most 4,000 bytes."""
    with connect(door) as plain:
        one = plain
        if tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            one = context.wrap_socket(plain, server_hostname="evil.example")
        one.sendall(text)
        said = b""
        try:
            while len(said) < 4000 and (part := one.recv(4096)):
                said += part
        except OSError:  # it closes, or says no more
            pass
        return said


def http(path):
    return (
        f"GET {path} HTTP/1.1\r\nhost: evil.example\r\norigin: http://evil.example\r\nconnection: close\r\n\r\n"
    ).encode()


def questions():
    for path in PATHS:
        yield f"GET {path}", http(path), False
    yield "https GET /", http("/"), True
    yield "https GET /dir/status", http("/dir/status"), True
    yield "http2", PREFACE, False
    yield "http2 tls", PREFACE, True
    yield "redis", b"PING\r\n", False
    yield "postgres", (len(START_UP) + 8).to_bytes(4, "big") + (196608).to_bytes(4, "big") + START_UP, False


def all_of(door):
    """A line per question, with what came back; one that may not be opened is asked once."""
    lines = []
    for name, text, tls in questions():
        said, refused = "", ""
        try:
            said = say(door, text, tls).decode("latin-1")
        except OSError as error:
            refused = type(error).__name__
        lines.append(json.dumps({**door, "asked": name, "said": said, "refused": refused}))
        if refused in ("PermissionError", "FileNotFoundError"):
            break
    return lines


def main():
    with ThreadPoolExecutor(16) as pool:
        for lines in pool.map(all_of, json.load(sys.stdin)):
            print("\n".join(lines))


if __name__ == "__main__":
    os.umask(0o077)
    main()
