"""Runs one client: python -m benchmarks.rivals WORK (JSON). The sample is the last line of stdout."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from importlib import import_module

from benchmarks.harness import Sample
from benchmarks.rivals.work import Work, wait_for_start


def main() -> None:
    work = Work(**json.loads(sys.argv[1]))
    if work.core is not None:
        os.sched_setaffinity(0, {work.core})
    client = import_module(f"benchmarks.rivals.{work.client}")
    wait_for_start()
    sample: Sample = client.measure(work)
    print(json.dumps(asdict(sample)), flush=True)
    os._exit(0)  # some clients' threads abort an orderly exit when all that matters is done


if __name__ == "__main__":
    main()
