"""Which addresses may stand in a whitelist: public ones, of the forms that a job allows.

The list as a whole is checked by `patch`, since no PUT may leave with a wrong one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from enum import StrEnum

LARGEST_IPV4, LARGEST_IPV6 = 24, 64  # prefix lengths of the widest ranges that a whitelist may hold


class Breadth(StrEnum):
    """Forms of a whitelist entry that the Update API page does not name; a job must allow them explicitly."""

    CIDR = "cidr"
    IPV6 = "ipv6"


def address_problem(text: str, allow: Collection[Breadth] = ()) -> str:
    """Why `text` must not stand in a whitelist; empty when it may.

    A range that is allowed holds at most 256 addresses, of IPv6 one network of a site, and all are public.
    """
    _, slash, mask = text.partition("/")
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        return f"{text[:60]!r} is not a single public IPv4 address"
    if slash and not mask.isdecimal():
        return f"{text[:60]!r} is not a range such as 203.0.113.0/28"
    forms = {Breadth.CIDR} if slash else set()
    if network.version == 6:
        forms.add(Breadth.IPV6)
    if lacking := sorted(forms - set(allow)):
        need = f"; it needs allow: [{', '.join(lacking)}]"
        return f"{text[:60]!r} is not a single public IPv4 address{need}"
    if isinstance(network, ipaddress.IPv6Network):
        largest, public = LARGEST_IPV6, _is_public_ipv6(network)
    else:
        largest = LARGEST_IPV4
        public = network.prefixlen >= largest and not any(map(_never_public, network))
    if network.prefixlen < largest:
        return f"{text} is too wide a range; the widest allowed is /{largest}"
    if not public:
        return f"{text} is not a public address; no such client can ever connect"
    return ""


def _never_public(address: ipaddress.IPv4Address) -> bool:
    if any(address in net for net in _DOCUMENTATION):
        return False
    return not address.is_global or address.is_multicast


# Reserved for documentation: harmless, and what every example uses. Plans warn about them.
_DOCUMENTATION = tuple(
    ipaddress.IPv4Network(net) for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")
)
_DOCUMENTATION_IPV6 = ipaddress.IPv6Network("2001:db8::/32")

# Of IPv6 only 2000::/3 is given to the public. In it, addresses that stand for others are none of their own:
# protocol assignments (Teredo among them), 6to4 and the second documentation range.
_PUBLIC_IPV6 = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_IPV6 = tuple(ipaddress.IPv6Network(net) for net in ("2001::/23", "2002::/16", "3fff::/20"))


def _is_public_ipv6(network: ipaddress.IPv6Network) -> bool:
    """Whether every address of the range is public; one with a zone is for a single machine only."""
    if network.network_address.scope_id is not None or not network.subnet_of(_PUBLIC_IPV6):
        return False
    return not any(network.overlaps(reserved) for reserved in _NOT_PUBLIC_IPV6)


def documentation_address(text: str) -> bool:
    """True for an address, or a range of them, that only examples use."""
    network = ipaddress.ip_network(text)
    if isinstance(network, ipaddress.IPv6Network):
        return network.subnet_of(_DOCUMENTATION_IPV6)
    return any(network.subnet_of(reserved) for reserved in _DOCUMENTATION)
