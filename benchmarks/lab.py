"""Servers and clients in processes of their own, each kept to its core; certificates made on the fly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from benchmarks.harness import Sample
from benchmarks.rivals.work import Work

CORES = sorted(os.sched_getaffinity(0))
CLIENT_CORE, SERVER_CORE = CORES[0], CORES[-1]
SERVER = "benchmarks.server: Python on one core, epoll that spins while busy, prebuilt bytes; no nginx"
LONGEST = 600.0  # s that a client may take


class ClientFailed(RuntimeError):
    """A client's process ended without a sample."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a server saw: requests by kind, and the instants of the writes (s).

    `busy` is how long it was at work, `stalled` the longest that it was kept from its sockets: by so much
    what came may have come earlier than it says (s).
    """

    puts: int
    gets: int
    lists: int
    refused: int
    connections: int
    busy: float
    stalled: float
    arrivals: Sequence[float]


class Served:
    """A running server at `url`."""

    def __init__(self, process: subprocess.Popen[str], ca_file: str | None) -> None:
        self._process = process
        self.ca_file = ca_file
        self.url = self._line()

    def reset(self) -> None:
        """Forgets what it saw."""
        self._ask("reset")

    def seen(self) -> Seen:
        """What it saw since the start or the last reset."""
        told: dict[str, Any] = self._ask("report")
        return Seen(
            puts=told["PUT"],
            gets=told["GET"],
            lists=told["LIST"],
            refused=told["REFUSED"],
            connections=told["connections"],
            busy=told["busy"],
            stalled=told["stalled"],
            arrivals=told["arrivals"],
        )

    def _ask(self, question: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{question}\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._line())
        return answer

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise RuntimeError("the benchmarks' server ended early")
        return line


@contextmanager
def serve(
    *, tls: bool = False, latency: float = 0.0, limit: str = "", policy: str = "user"
) -> Iterator[Served]:
    """A server on its core; `limit` is COUNT/SECONDS."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["--core", str(SERVER_CORE), "--latency", str(latency), "--limit", limit, "--policy", policy]
        ca_file = None
        if tls:
            ca_file, cert = write_certificates(Path(folder))
            words += ["--cert", cert]
        with subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "benchmarks.server", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield Served(process, ca_file)
            finally:
                assert process.stdin is not None
                process.stdin.close()


class Child:
    """A client's process, imported and waiting for `start`; `sample` waits for its end."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "benchmarks.rivals", json.dumps(asdict(work))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self._ready = self._process.stdout.readline() == "ready\n"

    def start(self) -> None:
        """Lets it begin."""
        if self._ready:
            assert self._process.stdin is not None
            self._process.stdin.write("\n")
            self._process.stdin.flush()

    def sample(self) -> Sample:
        """What it measured. Raises ClientFailed."""
        try:
            said, complaint = self._process.communicate(timeout=LONGEST)
        except subprocess.TimeoutExpired:
            self._process.kill()
            said, complaint = self._process.communicate()
            complaint += f"took more than {LONGEST:.0f} s"
        lines = said.splitlines()
        if not lines:
            raise ClientFailed(f"{self._work.client}: {complaint.strip()[-2000:]}")
        return Sample(**json.loads(lines[-1]))


def measure(work: Work) -> Sample:
    """One run of one client in a process of its own."""
    child = Child(work)
    child.start()
    return child.sample()


def missing(client: str) -> list[str]:
    """The packages that a client needs and that are not installed."""
    packages: Sequence[str] = import_module(f"benchmarks.rivals.{client}").PACKAGES
    return [package for package in packages if not is_installed(package)]


def is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def affinity() -> Mapping[str, object]:
    """Who runs where, for the conditions."""
    return {"server": SERVER, "server_core": SERVER_CORE, "client_core": CLIENT_CORE}


def write_certificates(folder: Path) -> tuple[str, str]:
    """An authority of our own and a certificate for 127.0.0.1, as PEM files: the authority's,
    and the server's with its key.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def builder(subject: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name("benchmark authority"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=7))
        )

    authority, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    root = (
        builder("benchmark authority", authority)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority.public_key()), critical=False)
        .sign(authority, hashes.SHA256())
    )
    leaf = (
        builder("127.0.0.1", own)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False
        )
        .sign(authority, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = own.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    ca_file, cert = folder / "authority.pem", folder / "server.pem"
    ca_file.write_bytes(root.public_bytes(pem))
    cert.write_bytes(secret + leaf.public_bytes(pem))
    return str(ca_file), str(cert)
