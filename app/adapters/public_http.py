"""Calls to addresses that users name: to the public internet only, whatever their names stand for at the moment.

A name is looked up once for each call, every address that comes back is checked, and the connection is opened to one of
those very addresses: there is no second look-up that could answer otherwise. Redirects are not followed, proxies that
the environment names are not used, and of an answer nothing but its status is read.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

import idna

from app.core.config import Settings
from app.core.errors import Unprocessable

URL_LIMIT: Final = 2000
_ADDRESSES_TRIED: Final = 3
_LOOK_UPS_AT_ONCE: Final = 64
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}
_UNCLEAN: Final = re.compile(r"[\x00-\x20\x7f-\xa0\\]|\s")
_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")

_NOT_PUBLIC_4: Final = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this host, this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' address translation
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local; metadata services of clouds
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_GLOBAL_6: Final = IPv6Network("2000::/3")
_NOT_PUBLIC_6: Final = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)
_NAT64: Final = IPv6Network("64:ff9b::/96")

Resolve = Callable[[str, int], Awaitable[Iterable[str]]]
"""All addresses of a name, as text; OSError if there is none."""
Connect = Callable[[str, int, float | None], Awaitable[Any]]
"""A connection (`httpcore.AsyncNetworkStream`) to an address and a port, within so many seconds."""


class UrlRefused(Unprocessable):
    code, title = "url_refused", "The address must be https and lead to the public internet."


class CallFailed(Exception):
    """No answer came; `reason` is one stable word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Target:
    """An address that was taken apart and found clean; the name in it is not looked up yet."""

    scheme: str
    host: str
    port: int
    path: str
    local_only: bool
    """Whether it is acceptable only if it leads to this very machine."""

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether the address belongs to the public internet. Of IPv6 that wraps IPv4, the inner address is asked for."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    if address.scope_id is not None:
        return False
    if address.ipv4_mapped is not None:
        return is_public(address.ipv4_mapped)
    if address in _NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
    return address in _GLOBAL_6 and not any(address in network for network in _NOT_PUBLIC_6)


Call = Callable[[Target, Sequence[str], Mapping[str, str], bytes], Awaitable[int]]
"""A request with these headers and this body, to one of these addresses of the target; the status of the answer."""


class PublicHttp:
    """One for each process. `resolve` and `connect` are how it reaches the world."""

    def __init__(
        self,
        settings: Settings,
        *,
        resolve: Resolve | None = None,
        connect: Connect | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._ports = settings.webhook_ports
        self._loopback = settings.webhook_loopback
        self._seconds = settings.webhook_seconds
        # Threads of their own: a name server that does not answer must hold up no password and no image.
        self._threads = ThreadPoolExecutor(_LOOK_UPS_AT_ONCE, thread_name_prefix="look-up")
        self._under_way: dict[tuple[str, int], asyncio.Future[list[str]]] = {}
        self._resolve = resolve or self._look_up
        self._connect, self._tls = connect, tls

    @cached_property
    def _call(self) -> Call:
        """Loaded when it is first needed: a server, which never calls anybody, does without an HTTP client and without
        the certificates of all."""
        call: Call = import_module("app.adapters.public_calls").PublicCalls(self._connect, self._tls).post
        return call

    def target(self, url: str) -> Target:
        """The address in its parts, its name in lower case and ASCII; `UrlRefused` for what no call will be made to."""
        if len(url) > URL_LIMIT or _UNCLEAN.search(url):
            raise UrlRefused("The address is too long, or holds blanks, backslashes or control characters.")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise UrlRefused("The address cannot be read.") from error
        if parts.scheme not in ("https", "http") or (parts.scheme == "http" and not self._loopback):
            raise UrlRefused("The address must begin with https://.")
        if "@" in parts.netloc or parts.fragment or not (parts.path + parts.query).isascii():
            raise UrlRefused("The address must hold no user, no fragment, and ASCII only but for the name.")
        port = _DEFAULT_PORTS[parts.scheme] if port is None else port
        local_only = parts.scheme == "http" or port not in self._ports
        if local_only and not self._loopback:
            raise UrlRefused(f"The port must be one of {', '.join(str(port) for port in self._ports)}.")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        host = parts.hostname or ""
        if "[" in parts.netloc and ":" not in host:
            _refuse_host()
        return Target(parts.scheme, self._host(host), port, path, local_only)

    async def check(self, url: str) -> str:
        """The address as it is to be kept, or `UrlRefused` if it leads anywhere else than to the public internet."""
        target = self.target(url)
        try:
            async with asyncio.timeout(self._seconds):
                await self._addresses(target)
        except (CallFailed, TimeoutError) as failure:
            raise UrlRefused("The name in the address does not lead to the public internet.") from failure
        return target.url

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Send the body; the status of the answer. `CallFailed` if none came in time, or if the way leads inside."""
        call = self._call
        try:
            target = self.target(url)
            async with asyncio.timeout(self._seconds):
                return await call(target, await self._addresses(target), headers, body)
        except UrlRefused as refusal:
            raise CallFailed("address_refused") from refusal
        except TimeoutError as error:
            raise CallFailed("timeout") from error

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _addresses(self, target: Target) -> list[str]:
        """Where the name leads at this moment. One address that is not acceptable spoils all of them."""
        try:
            found = [str(ip_address(target.host))]
        except ValueError:
            try:
                found = list(await self._resolve(target.host, target.port))
            except (OSError, UnicodeError) as error:
                raise CallFailed("name_unknown") from error
        if not found:
            raise CallFailed("name_unknown")
        if not all(self._is_acceptable(address, target.local_only) for address in found):
            raise CallFailed("address_refused")
        return found[:_ADDRESSES_TRIED]

    def _is_acceptable(self, address: str, local_only: bool) -> bool:
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        if self._loopback and parsed.is_loopback:
            return True
        return not local_only and is_public(parsed)

    def _host(self, host: str) -> str:
        """The name as it is looked up. Spellings of addresses that only some libraries understand are refused."""
        if ":" in host:
            try:
                return str(IPv6Address(host)) if "%" not in host else _refuse_host()
            except ValueError:
                _refuse_host()
        try:
            name = idna.encode(host, uts46=True).decode().lower().removesuffix(".")
        except idna.IDNAError:
            _refuse_host()
        labels = name.split(".")
        if _NUMBER.fullmatch(labels[-1]):
            try:
                return str(IPv4Address(name))
            except ValueError:
                _refuse_host()
        is_name = len(name) <= 253 and all(_LABEL.fullmatch(label) for label in labels)
        if not is_name or (len(labels) < 2 and not self._loopback):
            _refuse_host()
        return name

    async def _look_up(self, host: str, port: int) -> list[str]:
        """One thread for each name, however many ask: it stays with a server that does not answer for longer than they
        wait, and one user's names must not take all the threads."""
        asked = self._under_way.get((host, port))
        if asked is None:
            asked = asyncio.get_running_loop().run_in_executor(self._threads, _addresses_of, host, port)
            self._under_way[host, port] = asked
            asked.add_done_callback(lambda done: self._has_answered(host, port, done))
        return await asyncio.shield(asked)

    def _has_answered(self, host: str, port: int, done: asyncio.Future[list[str]]) -> None:
        del self._under_way[host, port]
        if not done.cancelled():
            done.exception()  # nobody may be waiting any more who would hear of it


def _addresses_of(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _refuse_host() -> NoReturn:
    raise UrlRefused("The name in the address is none.")
