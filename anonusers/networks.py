"""Networks whose addresses are not limited, all the time or for the hours of an event: `"CIDR"` or `"CIDR begin/end"`
with an ISO 8601 interval, such as `"192.0.2.0/24 2026-12-01T08:00Z/2026-12-01T18:00Z"`."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from django.utils.translation import gettext as _

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

NETWORKS_MAX = 100
"""How many a project may have."""


@dataclass(frozen=True)
class UnlimitedNetwork:
    """A network, and from when until when it is meant; None: always."""

    network: Network
    start: datetime | None = None
    end: datetime | None = None

    def covers(self, address: Address, at: datetime) -> bool:
        in_time = self.start is None or self.end is None or self.start <= at < self.end
        # An address of the other version is in no network.
        return in_time and _as_ipv4(address) in self.network


def parse_network(text: str) -> UnlimitedNetwork:
    """Raises: ValueError, whose words are for the person who wrote the text."""
    cidr, space, interval = text.partition(" ")
    try:
        network = ipaddress.ip_network(cidr)
    except ValueError:
        raise ValueError(
            _("Use a network such as 192.0.2.0/24 or 2001:db8::/32, with no bits set after the prefix.")
        ) from None
    if isinstance(network, ipaddress.IPv6Network) and network.network_address.ipv4_mapped:
        raise ValueError(_("Write a network of IPv4 addresses as IPv4."))
    if not space:
        return UnlimitedNetwork(network)
    try:
        start, end = (datetime.fromisoformat(moment) for moment in interval.split("/"))
    except ValueError:
        raise ValueError(_("Use an interval such as 2026-12-01T08:00Z/2026-12-01T18:00Z.")) from None
    if start.tzinfo is None or end.tzinfo is None:
        raise ValueError(_("Both times need a time zone: Z, or one such as +01:00."))
    if start >= end:
        raise ValueError(_("The end is not after the start."))
    return UnlimitedNetwork(network, start, end)


def parse_address(ip: str) -> Address | None:
    """The address, an IPv4 one in IPv6 form as IPv4; None where the text is none."""
    try:
        return _as_ipv4(ipaddress.ip_address(ip))
    except ValueError:
        return None


def is_exempt(ip: str, entries: Iterable[str], at: datetime) -> bool:
    """Whether one of a project's networks covers this address."""
    networks = _parsed(tuple(entries))
    address = parse_address(ip) if networks else None
    return address is not None and any(network.covers(address, at) for network in networks)


def _as_ipv4(address: Address) -> Address:
    return (isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped) or address


# Each sign-up asks; the lists are few and seldom change.
@lru_cache(maxsize=256)
def _parsed(entries: tuple[str, ...]) -> tuple[UnlimitedNetwork, ...]:
    return tuple(parse_network(entry) for entry in entries)
