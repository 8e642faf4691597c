"""The part of IAM that a fleet tool calls: tokens, temporary keys, projects; and workspaces."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

from fleet.simulator.access import Access, Project, iso_time
from fleet.simulator.messages import Answer, Call, answer, to_json
from fleet.simulator.refusals import Refusal, iam_bad_request, iam_unauthorized
from fleet.simulator.routing import Operation
from fleet.simulator.world import World

SHORTEST_KEY_SECONDS = 900
LONGEST_KEY_SECONDS = 86_400


def handle(
    access: Access, operation: Operation, body: Mapping[str, Any], query: Mapping[str, str],
    now: float,
) -> Answer:  # fmt: skip
    """The IAM call's answer. Only ``create_token`` may come without credentials."""
    if operation is Operation.CREATE_TOKEN:
        return create_token(access, body, now)
    if operation is Operation.CREATE_TEMPORARY_KEY:
        return create_temporary_key(access, body, now)
    return list_projects(access, query)


def create_token(access: Access, body: Mapping[str, Any], now: float) -> Answer:
    """A token by password, in the header X-Subject-Token."""
    identity = access.identity
    user = _dig(body, "auth", "identity", "password", "user")
    domain = _dig(user, "domain")
    if _dig(body, "auth", "identity").get("methods") != ["password"]:
        raise iam_bad_request("The request body is invalid: methods must be [password].")
    password = user.get("password")
    if not (
        user.get("name") == identity.user
        and domain.get("name") == identity.domain
        and isinstance(password, str)
        and hmac.compare_digest(password.encode(), identity.password.encode())
    ):
        raise iam_unauthorized("The username or password is wrong.")
    scope = _dig(body, "auth").get("scope", {})
    project = _scoped_project(identity.projects, scope)
    text, token = access.issue_token(project.id if project else "", now)
    view: dict[str, Any] = {
        "methods": ["password"],
        "issued_at": iso_time(now),
        "expires_at": iso_time(token.expires_at),
        "roles": [{"id": "0", "name": "te_admin"}],
        "user": {
            "id": identity.user_id,
            "name": identity.user,
            "domain": {"id": identity.domain_id, "name": identity.domain},
        },
    }
    if project is not None:
        view["project"] = {"id": project.id, "name": project.name}
    return Answer(to_json({"token": view}), status=201, headers={"X-Subject-Token": text})


def _scoped_project(projects: tuple[Project, ...], scope: object) -> Project | None:
    if not isinstance(scope, dict) or "project" not in scope:
        return None
    wanted = _dig(scope, "project")
    for project in projects:
        if wanted.get("id", project.id) == project.id and wanted.get("name", project.name) == (project.name):
            return project
    raise Refusal("IAM.401", "The project of the scope does not exist.", 401)


def create_temporary_key(access: Access, body: Mapping[str, Any], now: float) -> Answer:
    """A temporary access key, by a valid token."""
    identity = _dig(body, "auth", "identity")
    asked = _dig(identity, "token") if "token" in identity else {}
    seconds = asked.get("duration_seconds", SHORTEST_KEY_SECONDS)
    if not isinstance(seconds, int) or not SHORTEST_KEY_SECONDS <= seconds <= LONGEST_KEY_SECONDS:
        raise iam_bad_request("duration_seconds must be between 900 and 86400.")
    key = access.issue_key(seconds, now)
    credential = {
        "access": key.access_key,
        "secret": key.secret_key,
        "securitytoken": key.security_token,
        "expires_at": iso_time(key.expires_at),
    }
    return Answer(to_json({"credential": credential}), status=201)


def list_projects(access: Access, query: Mapping[str, str]) -> Answer:
    identity = access.identity
    rows = [
        {
            "id": project.id,
            "name": project.name,
            "domain_id": identity.domain_id,
            "parent_id": identity.domain_id,
            "enabled": True,
            "is_domain": False,
            "description": "",
        }
        for project in identity.projects
        if query.get("name", project.name) == project.name
    ]
    return answer({"projects": rows, "links": {}})


def list_workspaces(world: World, _: Call) -> Answer:
    """GET /v1/{project_id}/workspaces."""
    rows = world.workspaces
    return answer({"workspaces": rows, "count": len(rows), "total_count": len(rows)})


def _dig(value: Mapping[str, Any], *path: str) -> dict[str, Any]:
    """The object under a path of keys; raises IAM's 400 when it is not there."""
    found: Any = value
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        raise iam_bad_request(f"The request body is invalid: {'.'.join(path)} is missing.")
    return found
