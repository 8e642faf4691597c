"""The network: one request out, one answer in. `open_transports` opens the way to every site.

`site` is the contract. `wire` is the transport of the hot path, `session` the one that it is checked against
and that stands in where the wire transport cannot serve.
"""

from fleet.client.transport.opening import open_transports
from fleet.client.transport.site import Departure, Site, Transport

__all__ = ["Departure", "Site", "Transport", "open_transports"]
