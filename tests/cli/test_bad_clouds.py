"""A cloud that cannot be reached, or is none: one line that says what to check, and no secret goes astray."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import trustme

from fleet.client import caller
from fleet.core.pacing.retry import Patience

Lab = Any
Shell = Any


class Recorder(BaseHTTPRequestHandler):
    """Answers everything with the server's one answer and keeps what came."""

    server: Server

    def do_GET(self) -> None:
        self._record()

    def do_POST(self) -> None:
        self._record()

    def _record(self) -> None:
        self.server.seen.append((self.path, dict(self.headers)))
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


class Server(HTTPServer):
    """A web server that is no ModelArts."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Recorder)
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.status, self.body = 200, b""
        self.headers: dict[str, str] = {}

    def handle_error(self, request: object, client_address: object) -> None:
        """A handshake that the client broke off is what some tests want."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def other() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls give up at once instead of trying again for minutes."""
    monkeypatch.setattr(caller, "Patience", lambda: Patience(attempts=1, longest=0.0))


@pytest.mark.usefixtures("calm")
@pytest.mark.parametrize("command", [("ls",), ("plan", "job.yaml"), ("run", "job.yaml", "--yes")])
def test_a_closed_port_is_named_with_what_to_check(lab: Lab, shell: Shell, command: tuple[str, ...]) -> None:
    port = closed_port()
    shell.write("fleet.toml", lab.config(url=f"http://127.0.0.1:{port}"))
    said = shell.refused(*command, code=1)
    assert f"unreachable: cannot connect to 127.0.0.1:{port}" in said
    assert "check region and endpoint of scope lab-" in said
    assert shell.files == {"fleet.toml", "job.yaml"}


@pytest.mark.usefixtures("calm")
def test_a_region_that_does_not_exist_is_named(lab: Lab, shell: Shell) -> None:
    shell.write("fleet.toml", lab.config(url="https://modelarts.no-such-region.invalid"))
    said = shell.refused("ls", code=1)
    assert "unreachable: cannot resolve modelarts.no-such-region.invalid: check region and endpoint" in said


@pytest.mark.row(25)
@pytest.mark.security("tls")
def test_a_certificate_that_nobody_vouches_for_is_refused_and_no_key_is_sent(
    lab: Lab, shell: Shell, other: Server
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    other.socket = context.wrap_socket(other.socket, server_side=True)
    shell.write("fleet.toml", lab.config(url=f"https://localhost:{other.server_port}"))
    said = shell.refused("ls", code=1)
    assert f"TLS failure: the certificate of localhost:{other.server_port} is refused" in said
    assert other.seen == []


@pytest.mark.row(26)
@pytest.mark.security("json")
@pytest.mark.usefixtures("calm")
@pytest.mark.parametrize("body", [b"<html>Sign in</html>", b"", b"{", b"[]", b"\xff" * 100, b"[" * 50_000])
def test_an_answer_that_is_no_json_is_named_with_its_host(
    lab: Lab, shell: Shell, other: Server, body: bytes
) -> None:
    other.body = body
    shell.write("fleet.toml", lab.config(url=other.url))
    said = shell.refused("ls", code=1)
    assert f"127.0.0.1:{other.server_port}" in said


@pytest.mark.row(30)
@pytest.mark.security("redirect")
@pytest.mark.usefixtures("calm")
def test_a_redirect_is_not_followed(lab: Lab, shell: Shell, other: Server) -> None:
    other.status, other.headers = 302, {"Location": lab.url}
    shell.write("fleet.toml", lab.config(url=other.url))
    said = shell.refused("ls", code=1)
    assert "redirect" in said
    assert (len(other.seen) > 0, lab.cloud.log) == (True, [])


@pytest.mark.security("escapes")
@pytest.mark.usefixtures("calm")
def test_what_a_foreign_server_says_cannot_play_with_the_terminal(
    lab: Lab, shell: Shell, other: Server
) -> None:
    other.status = 403
    other.body = (
        b'{"error_code": "X.1\\u001b[2J", "error_msg": "\\u001b]0;evil\\u0007\\u202e\\nfleet: all is well"}'
    )
    shell.write("fleet.toml", lab.config(url=other.url))
    said = shell.refused("ls", code=1)
    assert said.rstrip("\n").isprintable()


def test_a_wrong_secret_key_is_sent_once_and_not_tried_again(lab: Lab, shell: Shell) -> None:
    shell.write("fleet.toml", lab.config(secret="wrong" * 8))
    said = shell.refused("ls", code=1)
    assert "not authenticated" in said
    assert "wrong" * 8 not in said
    assert len(lab.cloud.log) == 1


def test_a_wrong_secret_key_is_told_with_scope_table_and_variable(lab: Lab, shell: Shell) -> None:
    secret, wrong = lab.cloud.identity.secret_key, "wrong" * 8
    shell.write("fleet.toml", lab.config().replace(f'secret_key = "{secret}"', 'secret_key_env = "LAB_SK"'))
    shell.patch.setenv("LAB_SK", wrong)
    said = shell.refused("ls", code=1)
    source = (
        "[credentials.lab] in fleet.toml (access_key as written there, secret_key from the variable LAB_SK)"
    )
    assert said.endswith(f" uses {source}\n")
    assert said.count(" uses ") == 1
    assert wrong not in said
    assert lab.cloud.identity.access_key not in said


def test_a_refused_password_is_told_with_scope_and_table(lab: Lab, shell: Shell) -> None:
    tables = lab.config().partition("[credentials.lab]")[0]
    table = '[credentials.lab]\nkind = "password"\nuser = "ann"\ndomain = "acme"\npassword_env = "LAB_PW"\n'
    shell.write("fleet.toml", tables + table)
    shell.patch.setenv("LAB_PW", "wrong" * 8)
    said = shell.refused("ls", code=1)
    assert "[credentials.lab] in fleet.toml (user as written there, domain as written there, " in said
    assert said.endswith("password from the variable LAB_PW)\n")
    assert said.count(" uses ") == 1


def test_keys_of_the_environment_that_are_refused_name_their_variables(lab: Lab, shell: Shell) -> None:
    shell.write(
        "fleet.toml", lab.config().partition("[credentials.lab]")[0].replace('credentials = "lab"', "")
    )
    shell.patch.setenv("HW_ACCESS_KEY", lab.cloud.identity.access_key)
    shell.patch.setenv("HW_SECRET_KEY", "wrong" * 8)
    assert shell.refused("ls", code=1).endswith(" uses the variables HW_ACCESS_KEY and HW_SECRET_KEY\n")
    shell.patch.setenv("HW_SECURITY_TOKEN", "temporary")
    said = shell.refused("ls", code=1)
    assert said.endswith(" uses the variables HW_ACCESS_KEY, HW_SECRET_KEY and HW_SECURITY_TOKEN\n")
    (shell.folder / "home" / ".huaweicloud").mkdir()
    keys = f"ak = {lab.cloud.identity.access_key}\nsk = wrong\n"
    shell.write("home/.huaweicloud/credentials", f"[basic]\n{keys}")
    file = shell.folder / "home" / ".huaweicloud" / "credentials"
    assert shell.refused("ls", code=1).endswith(f" uses [basic] in {file}\n")


@pytest.mark.usefixtures("calm")
def test_a_server_that_forbids_is_told_with_what_we_came(lab: Lab, shell: Shell, other: Server) -> None:
    other.status, other.body = 403, b'{"error_code": "X.1", "error_msg": "no"}'
    shell.write("fleet.toml", lab.config(url=other.url, more='workspaces = ["0"]'))
    assert " uses [credentials.lab] in fleet.toml (" in shell.refused("ls", code=1)


def test_a_wrong_key_stops_a_run_before_anything_is_written(lab: Lab, shell: Shell) -> None:
    plan = lab.plan()
    lab.cloud.log.clear()
    shell.write("fleet.toml", lab.config(secret="wrong" * 8))
    result = lab.apply(plan, "-o", "json")
    assert result.code in (1, 4)
    assert not any(record.applied for record in lab.cloud.log)
    assert lab.writes == []
    assert {row["outcome"] for row in result.json["rows"]} <= {"not-started", "failed", "skipped"}


def test_a_certificate_of_one_s_own_authority_is_trusted_when_named(
    lab: Lab, shell: Shell, other: Server
) -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(shell.folder / "ca.pem")
    other.socket = context.wrap_socket(other.socket, server_side=True)
    other.status, other.body = 403, b'{"error_code": "ModelArts.0203", "error_msg": "no"}'
    shell.write(
        "fleet.toml", lab.config(url=f"https://localhost:{other.server_port}", more='ca_file = "ca.pem"')
    )
    shell.refused("ls", code=1)
    assert len(other.seen) > 0
    shell.write("ca.pem", "no certificate")
    assert "ca_file" in shell.refused("ls")
    (shell.folder / "ca.pem").unlink()
    assert "ca.pem does not exist" in shell.refused("ls")
