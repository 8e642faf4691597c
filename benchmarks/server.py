"""A gateway from prebuilt bytes that is faster than every client: epoll, spinning as long as it is busy.

    python -m benchmarks.server [--core 1] [--latency 0.05] [--cert FILE] [--limit 60/60]

A server that sleeps makes each of a client's writes pay for waking it, which no remote server would do; hence
the spinning. It knows notebooks that are STOPPED and which image each has, so that the engine can read back
what it wrote. The address is the first line on stdout; then each line on stdin is a question: `reset` or
`report`, answered by a line of JSON. It ends with stdin. Neighbour: `lab`, which starts it.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import select
import socket
import ssl
import sys
import time
from array import array
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OLD_IMAGE = "4c1832fa-c9e7-496d-af9c-bed944e52a93"
NEW_IMAGE = "aea35d44-9443-4048-a94e-f5fadc394935"
ANSWER_BYTES = 1547  # of the body of a ShowNotebook or UpdateNotebook answer
BUSY_FOR = 0.1  # s without traffic after which it sleeps
REFUSAL = (
    "The throttling threshold has been reached: policy {policy} over ratelimit,limit:{count},time:{span}"
)

_ID, _IMAGE = "i" * 36, "m" * 36


def document() -> dict[str, Any]:
    """A stopped notebook as ShowNotebook tells it, with room for its id and its image's."""
    lease = {"create_at": 1, "duration": 28_800_000, "enable": True, "type": "TIMING", "update_at": 1}
    shown: dict[str, Any] = {
        "action_progress": [],
        "create_at": 1_638_841_744_515,
        "description": "",
        "endpoints": [
            {
                "service": "SSH",
                "key_pair_names": ["kp-ana"],
                "allowed_access_ips": ["203.0.113.1"],
                "uri": "ssh://ma-user@dev-modelarts-cn-north-4.example.com:30001",
            }
        ],
        "fail_reason": "",
        "feature": "NOTEBOOK",
        "flavor": "modelarts.vm.cpu.2u",
        "id": _ID,
        "image": {
            "id": _IMAGE,
            "name": "pytorch1.8-cuda10.2-cudnn7-ubuntu18.04",
            "swr_path": "swr.cn-north-4.example.com/atelier/pytorch_1_8:pytorch_1.8.0-cuda_10.2-py_3.7",
            "type": "BUILD_IN",
        },
        "lease": lease,
        "name": "vision-train",
        "status": "STOPPED",
        "token": "",
        "update_at": 1_638_841_744_515,
        "url": "",
        "user": {"id": "15dda26361214ca2a5953917d2f48ffb", "name": "ana"},
        "user_id": "15dda26361214ca2a5953917d2f48ffb",
        "volume": {
            "category": "EVS",
            "ownership": "MANAGED",
            "capacity": 50,
            "mount_path": "/home/ma-user/work/",
            "status": "IN_USE",
        },
        "workspace_id": "0",
    }
    shown["description"] = "x" * (ANSWER_BYTES - len(json.dumps(shown)))
    return shown


def head(status: str, length: int) -> bytes:
    """Status line and headers of an answer."""
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json;charset=utf-8\r\nContent-Length: {length}\r\n"
        f"X-Request-Id: {'5' * 32}\r\nServer: api-gateway\r\n\r\n"
    ).encode()


_TEXT = json.dumps(document()).encode()
_BEFORE_ID, _rest = _TEXT.split(_ID.encode())
_BEFORE_IMAGE, _AFTER_IMAGE = _rest.split(_IMAGE.encode())
_SHOWN = head("200 OK", len(_TEXT)) + _BEFORE_ID
_EMPTY_BODY = b'{"current":0,"data":[],"notebooks":[],"pages":0,"size":50,"total":0}'
_EMPTY_LIST = head("200 OK", len(_EMPTY_BODY)) + _EMPTY_BODY


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `count` writes in any `window` seconds, refused ones included; by `policy`."""

    count: int
    window: int
    policy: str = "user"

    @property
    def refusal(self) -> bytes:
        """The answer over the limit, with the gateway's own words."""
        span = f"{self.window // 60} minute" if self.window % 60 == 0 else f"{self.window} second"
        text = REFUSAL.format(policy=self.policy, count=self.count, span=span)
        body = json.dumps({"error_code": "APIGW.0308", "error_msg": text, "request_id": "5" * 32}).encode()
        return head("429 Too Many Requests", len(body)) + body


@dataclass(slots=True)
class Window:
    """A limit with the instants of the writes that came."""

    limit: Limit
    came: deque[float] = field(default_factory=deque)

    def admits(self, now: float) -> bool:
        """Counts a write. A window is half-open: two writes a window apart are never in the same one."""
        while self.came and now - self.came[0] >= self.limit.window:
            self.came.popleft()
        self.came.append(now)
        return len(self.came) <= self.limit.count


class Gateway:
    """Requests in, answers out; counts both. Knows no sockets."""

    def __init__(self, limit: Limit | None = None) -> None:
        self._limit = limit
        self.reset()

    def reset(self) -> None:
        """Forgets everything."""
        self.counts = dict.fromkeys(("PUT", "GET", "LIST", "REFUSED"), 0)
        self.arrivals = array("d")
        self._images: dict[bytes, bytes] = {}
        self._window = Window(self._limit) if self._limit else None

    def answer(self, method: bytes, target: bytes, body: bytes, now: float) -> bytes:
        """The answer to one request that came at `now`."""
        path = target.partition(b"?")[0]
        key = path[-36:]
        if method == b"PUT":
            self.counts["PUT"] += 1
            self.arrivals.append(now)
            if self._window is not None and not self._window.admits(now):
                self.counts["REFUSED"] += 1
                return self._window.limit.refusal
            self._images[key] = image_in(body)
        elif path.endswith((b"/notebooks", b"/all")):
            self.counts["LIST"] += 1
            return _EMPTY_LIST
        else:
            self.counts["GET"] += 1
        image = self._images.get(key, OLD_IMAGE.encode())
        return b"".join((_SHOWN, key, _BEFORE_IMAGE, image, _AFTER_IMAGE))


def image_in(body: bytes) -> bytes:
    """The image id in the body of an update."""
    name = body.index(b'"image_id"')
    start = body.index(b'"', name + 10) + 1
    return body[start : start + 36]


def split(data: bytes) -> tuple[bytes, bytes, bytes, int] | None:
    """Method, target, body and length of the first request in `data`; None when it is not complete."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    first, _, fields = data[:end].partition(b"\r\n")
    length = 0
    at = fields.lower().find(b"content-length:")
    if at >= 0:
        length = int(fields[at + 15 :].partition(b"\r\n")[0])
    stop = end + 4 + length
    if len(data) < stop:
        return None
    method, target, _ = first.split(b" ", 2)
    return method, target, data[end + 4 : stop], stop


@dataclass(slots=True)
class Connection:
    """One client's connection, with what came of a request that is not complete."""

    socket: socket.socket
    unread: bytes = b""
    ready: bool = True  # False until the TLS handshake is done


class Server:
    """The loop over sockets."""

    def __init__(self, gateway: Gateway, latency: float, tls: ssl.SSLContext | None) -> None:
        self._gateway = gateway
        self._latency = latency
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._listener.setblocking(False)
        self._epoll = select.epoll()
        self._epoll.register(self._listener, select.EPOLLIN)
        self._epoll.register(sys.stdin, select.EPOLLIN)
        self._connections: dict[int, Connection] = {}
        self._due: deque[tuple[float, Connection, bytes]] = deque()
        self._busy, self._stalled, self._accepted = 0.0, 0.0, 0
        self.port: int = self._listener.getsockname()[1]

    def run(self) -> None:
        """Serves until stdin ends."""
        monotonic, last, began = time.monotonic, 0.0, 0.0
        while True:
            turn, wait = began, self._sleep(monotonic() - last)
            events = self._epoll.poll(wait)
            began = monotonic()
            if not wait and began - turn > self._stalled:
                self._stalled = began - turn
            for number, _ in events:
                if number == sys.stdin.fileno():
                    if not self._told():
                        return
                elif number == self._listener.fileno():
                    self._accept()
                elif number in self._connections:
                    self._read(self._connections[number])
            sent = self._send_due(began)
            if events or sent:
                last = monotonic()
                self._busy += last - began

    def _sleep(self, idle: float) -> float:
        """How long epoll may wait: not at all while there is traffic."""
        if idle < BUSY_FOR:
            return 0.0
        if self._due:
            return max(0.0, self._due[0][0] - time.monotonic() - 0.002)
        return 10.0

    def _told(self) -> bool:
        line = sys.stdin.readline()
        if line == "reset\n":
            self._gateway.reset()
            self._busy, self._stalled, self._accepted = 0.0, 0.0, 0
            print("{}", flush=True)
        elif line == "report\n":
            times = {"busy": self._busy, "stalled": self._stalled, "connections": self._accepted}
            arrivals = self._gateway.arrivals.tolist()
            print(json.dumps({**self._gateway.counts, **times, "arrivals": arrivals}), flush=True)
        return bool(line)

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except BlockingIOError:
                return
            plain.setblocking(False)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(plain)
            if self._tls is not None:
                connection.ready = False
                connection.socket = self._tls.wrap_socket(
                    plain, server_side=True, do_handshake_on_connect=False
                )
            self._accepted += 1
            self._connections[connection.socket.fileno()] = connection
            self._epoll.register(connection.socket, select.EPOLLIN)

    def _read(self, connection: Connection) -> None:
        try:
            if not connection.ready:
                self._shake_hands(connection)
            data = connection.socket.recv(1 << 18)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError:
            data = b""
        if not data:
            self._drop(connection)
            return
        self._take(connection, connection.unread + data if connection.unread else data, time.monotonic())
        if isinstance(connection.socket, ssl.SSLSocket) and connection.socket.pending():
            self._read(connection)

    def _shake_hands(self, connection: Connection) -> None:
        """Goes on with the handshake; that is work, but no request's."""
        assert isinstance(connection.socket, ssl.SSLSocket)
        began = time.monotonic()
        try:
            connection.socket.do_handshake()
        finally:
            self._busy -= time.monotonic() - began
        connection.ready = True

    def _take(self, connection: Connection, data: bytes, now: float) -> None:
        while data and (found := split(data)) is not None:
            method, target, body, stop = found
            data = data[stop:]
            answer = self._gateway.answer(method, target, body, now)
            if self._latency:
                self._due.append((now + self._latency, connection, answer))
            else:
                self._send(connection, answer)
        connection.unread = data

    def _send_due(self, now: float) -> bool:
        sent = False
        while self._due and self._due[0][0] <= now:
            _, connection, answer = self._due.popleft()
            self._send(connection, answer)
            sent = True
        return sent

    def _send(self, connection: Connection, answer: bytes) -> None:
        """One answer at a time, far smaller than the socket's buffer: it goes at once."""
        try:
            whole = connection.socket.send(answer) == len(answer)
        except OSError:
            whole = False
        if not whole:
            self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        number = connection.socket.fileno()
        if self._connections.pop(number, None) is not None:
            self._epoll.unregister(number)
            connection.socket.close()


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.server")
    options.add_argument("--core", type=int, help="the core that it keeps to")
    options.add_argument("--latency", type=float, default=0.0, help="seconds between request and answer")
    options.add_argument("--cert", type=Path, help="PEM file with key and certificate: speak TLS")
    options.add_argument("--limit", default="", help="at most COUNT/SECONDS writes, the others get a 429")
    options.add_argument("--policy", default="user", help="what the limit is said to be by")
    chosen = options.parse_args()
    if chosen.core is not None:
        os.sched_setaffinity(0, {chosen.core})
    tls = None
    if chosen.cert is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(chosen.cert)
    count, _, window = chosen.limit.partition("/")
    limit = Limit(int(count), int(window), chosen.policy) if chosen.limit else None
    server = Server(Gateway(limit), chosen.latency, tls)
    print(f"{'http' if tls is None else 'https'}://127.0.0.1:{server.port}", flush=True)
    gc.freeze()
    server.run()


if __name__ == "__main__":
    main()
