"""libcurl's multi interface in one thread: sockets reported to us, epoll by us."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from io import BytesIO
from typing import Any

from benchmarks.harness import Sample
from benchmarks.rivals.fast_json import dumps, loads
from benchmarks.rivals.work import BODY, HEADERS, Work, measure_sync, path, require

PACKAGES = ("pycurl",)


class Multi:
    """As many easy handles as requests at once, used again and again."""

    def __init__(self, work: Work) -> None:
        self._curl: Any = import_module("pycurl")
        self._work = work
        self._multi = self._curl.CurlMulti()
        self._multi.setopt(self._curl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(self._curl.M_TIMERFUNCTION, self._time)
        self._epoll = select.epoll()
        self._watched: set[int] = set()
        self._wait = 0
        self._idle = [self._easy() for _ in range(work.concurrency)]
        self._told: dict[Any, tuple[int, BytesIO]] = {}

    def _easy(self) -> Any:
        curl = self._curl
        easy = curl.Curl()
        easy.setopt(curl.CUSTOMREQUEST, "PUT")
        easy.setopt(curl.HTTPHEADER, [*(f"{name}: {value}" for name, value in HEADERS.items()), "Expect:"])
        easy.setopt(curl.NOSIGNAL, 1)
        easy.setopt(curl.PROXY, "")
        if self._work.ca_file:
            easy.setopt(curl.CAINFO, self._work.ca_file)
        return easy

    def _watch(self, events: int, number: int, multi: Any, data: Any) -> None:
        """libcurl tells which sockets it cares about."""
        curl = self._curl
        if events == curl.POLL_REMOVE:
            if number in self._watched:
                self._watched.discard(number)
                self._epoll.unregister(number)
            return
        wanted = (select.EPOLLIN if events & curl.POLL_IN else 0) | (
            select.EPOLLOUT if events & curl.POLL_OUT else 0
        )
        if number in self._watched:
            self._epoll.modify(number, wanted)
        else:
            self._watched.add(number)
            self._epoll.register(number, wanted)

    def _time(self, wait: int) -> None:
        self._wait = wait

    def _begin(self, number: int) -> None:
        easy, into = self._idle.pop(), BytesIO()
        easy.setopt(self._curl.URL, f"{self._work.url}{path(number)}")
        easy.setopt(self._curl.POSTFIELDS, dumps(BODY))
        easy.setopt(self._curl.WRITEDATA, into)
        self._told[easy] = (number, into)
        self._multi.add_handle(easy)

    def _end(self) -> None:
        """Takes in what is finished."""
        while True:
            left, finished, failed = self._multi.info_read()
            for easy in finished:
                number, into = self._told.pop(easy)
                require(number, easy.getinfo(self._curl.RESPONSE_CODE), loads(into.getvalue()))
                self._multi.remove_handle(easy)
                self._idle.append(easy)
            if failed:
                raise RuntimeError(f"libcurl: {failed[0][2]}")
            if not left:
                return

    def update(self, numbers: range) -> None:
        """Updates all of them."""
        curl, left = self._curl, iter(numbers)
        more = True
        while more or self._told:
            while more and self._idle:
                number = next(left, None)
                if number is None:
                    more = False
                else:
                    self._begin(number)
            events = self._epoll.poll(self._wait / 1000 if self._wait >= 0 else 1.0)
            if not events:
                self._multi.socket_action(curl.SOCKET_TIMEOUT, 0)
            for socket, event in events:
                flags = (curl.CSELECT_IN if event & ~select.EPOLLOUT else 0) | (
                    curl.CSELECT_OUT if event & select.EPOLLOUT else 0
                )
                self._multi.socket_action(socket, flags)
            self._end()


@contextmanager
def opened(work: Work) -> Iterator[Callable[[range], None]]:
    yield Multi(work).update


def measure(work: Work) -> Sample:
    return measure_sync(opened, work)
