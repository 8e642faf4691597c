"""The switches for what the vendor's pages leave open.

Every field is one open question with the answers that a real region might give; the first answer is
the default. A rules file is a YAML mapping of these names, for example::

    rules: observed         # name and description in any state, storage growth only when RUNNING
    endpoints: merge
    missing: 404
    throttle:               # gateway limits, off by default
      - {policy: user, limit: 60, seconds: 60, calls: writes}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fleet.simulator.documents import CONFIG, load_document
from fleet.simulator.throttle import Limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How this cloud answers the open questions."""

    __pydantic_config__ = CONFIG

    # "seed": every PUT field only when STOPPED. "observed": name and description in any state,
    # storage_new_size only when RUNNING, the others only when STOPPED.
    rules: Literal["seed", "observed"] = "seed"
    # Does a PUT replace the list of endpoints, or change the services it names?
    endpoints: Literal["replace", "merge"] = "replace"
    # What a PUT item without key_pair_names / without allowed_access_ips does to what was there.
    omitted_keys: Literal["clear", "keep"] = "clear"
    omitted_ips: Literal["clear", "keep"] = "clear"
    # Address ranges such as 203.0.113.0/28 in allowed_access_ips.
    cidr: Literal["refuse", "accept"] = "refuse"
    # Addresses of IPv6 in allowed_access_ips.
    ipv6: Literal["refuse", "accept"] = "refuse"
    # Letters of any language in names (the SDK's text), or only ASCII (the Update API page).
    names: Literal["ascii", "any"] = "ascii"
    # Does a PUT of the value that is already there move update_at?
    same_value: Literal["ignore", "touch"] = "ignore"
    # duration=-1 switches automatic stop off at start / at lease renewal.
    duration_minus_one: Literal["accept", "refuse"] = "accept"
    renew_minus_one: Literal["accept", "refuse"] = "accept"
    # HTTP status and code of a notebook that does not exist.
    missing: Literal[400, 404] = 400
    missing_code: Literal["ModelArts.6309", "ModelArts.6404"] = "ModelArts.6309"
    # Which workspaces a list without a workspace filter shows, and how the filter is spelled.
    workspace_default: Literal["zero", "all"] = "zero"
    workspace_query: Literal["both", "workspace_id", "workspaceId"] = "both"
    # Whose notebooks GET /notebooks shows: the calling user's, or everybody's.
    list_own: Literal["caller", "everyone"] = "caller"
    # Default order of lists, newest first. By update_at rows move between pages.
    list_order: Literal["create_at", "update_at"] = "create_at"
    # A limit other than 10, 20 or 50: refused, or rounded up to the next of them.
    list_limit: Literal["refuse", "round"] = "refuse"
    # Must all tags of the tags filter match, or one?
    tags_filter: Literal["and", "or"] = "and"
    # Code of a flavor that is sold out.
    sold_out: Literal["ModelArts.6716", "ModelArts.6329"] = "ModelArts.6716"
    # The instances that an account may have; none: a few more than there are. Does a stopped one count?
    quota: int | None = None
    quota_counts: Literal["every", "running"] = "every"
    # START_FAILED behaves like STOPPED (may be changed and started), or is stuck.
    start_failed: Literal["stopped", "stuck"] = "stopped"
    # DELETE of a RUNNING notebook, and what is left of a deleted one.
    delete_running: Literal["accept", "refuse"] = "accept"
    deleted: Literal["gone", "listed"] = "gone"
    # Do url, token and the SSH port change when a notebook starts?
    restart_uri: Literal["keep", "change"] = "keep"
    # Code of an expired token.
    expired_token: Literal["APIGW.0307", "APIGW.0301"] = "APIGW.0307"
    # Gateway limits of this cloud.
    throttle: tuple[Limit, ...] = ()


def load_rules(text: str, where: str = "rules") -> Rules:
    """Rules from YAML; raises DocumentError with one clear line."""
    return load_document(Rules, text, where, empty={})
