"""The vendor's SDK, signing each request as it always does: one thread, 64 threads, or its own futures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from benchmarks.harness import Sample
from benchmarks.rivals.work import (
    ACCESS_KEY,
    BODY,
    PROJECT,
    SECRET_KEY,
    Work,
    key,
    measure_sync,
    require,
)

PACKAGES = ("huaweicloudsdkmodelarts",)
MOST_THREADS = 64


def build(kind: str, work: Work, connections: int) -> Any:
    """A client of the SDK; its pool holds ten connections unless it is told otherwise."""
    core = import_module("huaweicloudsdkcore.auth.credentials")
    http = import_module("huaweicloudsdkcore.http.http_config")
    config = http.HttpConfig(pool_connections=connections, pool_maxsize=connections, ssl_ca_cert=work.ca_file)
    builder = getattr(import_module("huaweicloudsdkmodelarts.v1"), kind).new_builder()
    credentials = core.BasicCredentials(ACCESS_KEY, SECRET_KEY, PROJECT)
    return builder.with_http_config(config).with_credentials(credentials).with_endpoint(work.url).build()


def request(number: int) -> Any:
    """An update, as an object of the SDK."""
    v1 = import_module("huaweicloudsdkmodelarts.v1")
    return v1.UpdateNotebookRequest(id=key(number), body=v1.NotebookUpdateRequest(**BODY))


def check(number: int, response: Any) -> None:
    require(number, response.status_code, {"id": response.id})


@contextmanager
def opened(work: Work) -> Iterator[Callable[[range], None]]:
    mode = work.option("mode")
    threads = 1 if mode == "sync" else min(work.concurrency, MOST_THREADS)
    client = build("ModelArtsAsyncClient" if mode == "async" else "ModelArtsClient", work, threads)

    def put(number: int) -> None:
        check(number, client.update_notebook(request(number)))

    def one_by_one(numbers: range) -> None:
        for number in numbers:
            put(number)

    def futures(numbers: range) -> None:
        """All at once: the SDK's own pool lets eight through."""
        sent = [(number, client.update_notebook_async(request(number))) for number in numbers]
        for number, future in sent:
            check(number, future.result())

    with ThreadPoolExecutor(threads) as pool:

        def in_threads(numbers: range) -> None:
            for _ in pool.map(put, numbers):
                pass

        yield {"sync": one_by_one, "threads": in_threads, "async": futures}[mode]


def measure(work: Work) -> Sample:
    return measure_sync(opened, work)
