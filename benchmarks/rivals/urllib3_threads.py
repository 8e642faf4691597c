"""urllib3's pool under 64 threads, the most that pay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module

from benchmarks.harness import Sample
from benchmarks.rivals.fast_json import dumps, loads
from benchmarks.rivals.work import BODY, HEADERS, Work, measure_sync, path, require

PACKAGES = ("urllib3",)
MOST_THREADS = 64


@contextmanager
def opened(work: Work) -> Iterator[Callable[[range], None]]:
    threads = min(work.concurrency, MOST_THREADS)
    manager = import_module("urllib3").PoolManager(
        maxsize=threads, block=True, headers=HEADERS, ca_certs=work.ca_file, retries=False
    )

    def put(number: int) -> None:
        response = manager.request("PUT", f"{work.url}{path(number)}", body=dumps(BODY))
        require(number, response.status, loads(response.data))

    with ThreadPoolExecutor(threads) as pool:

        def update(numbers: range) -> None:
            for _ in pool.map(put, numbers):
                pass

        yield update


def measure(work: Work) -> Sample:
    return measure_sync(opened, work)
