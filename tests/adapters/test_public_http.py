"""No call ever leads anywhere but to the public internet: not by its spelling, its name, nor by a second look-up."""

import asyncio
import collections
import ipaddress
import itertools
import os
import socket
import ssl
import threading
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import httpcore
import pytest
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from app.adapters.public_http import CallFailed, PublicHttp, UrlRefused, is_public
from app.core.config import Settings
from tests.adapters.hostile_urls import HOSTILE, INNER, PUBLIC

EXAMPLES = int(os.environ.get("LOCALBAZAAR_PUBLIC_HTTP_EXAMPLES", "300"))
_TLS = ssl.create_default_context()
NAMED = "https://hooks.example.com/take"


class Net:
    """The world as far as the client can tell: what names lead to, and which connections it opened."""

    def __init__(self, configured: Settings, *answers: Iterable[str], **changed: object) -> None:
        self.looked_up: list[str] = []
        self.opened: list[tuple[str, int]] = []
        self._answers = itertools.chain(answers, itertools.repeat(answers[-1])) if answers else itertools.repeat([])
        settings = configured.model_copy(update={"webhook_loopback": False} | changed)
        self.http = PublicHttp(settings, resolve=self._resolve, connect=self._connect, tls=_TLS)

    async def _resolve(self, name: str, _: int) -> Iterable[str]:
        self.looked_up.append(name)
        return next(self._answers)

    async def _connect(self, address: str, port: int, _: float | None) -> httpcore.AsyncNetworkStream:
        self.opened.append((address, port))
        raise httpcore.ConnectError("nothing leaves this machine")

    async def tried(self, url: str) -> str:
        """Why a call to the address failed, which it does here in any case."""
        with pytest.raises(CallFailed) as failure:
            await self.http.post(url, {}, b"{}")
        return failure.value.reason


@pytest.fixture(scope="module")
def plain() -> Settings:
    return Settings()


def test_there_are_hundreds_of_hostile_addresses() -> None:
    assert len(HOSTILE) >= 300
    assert len(set(HOSTILE)) == len(HOSTILE)


@pytest.mark.parametrize("chunk", range(8))
async def test_no_connection_is_opened_for_a_hostile_address(plain: Settings, chunk: int) -> None:
    for url in HOSTILE[chunk::8]:
        # Given a name server that calls everything public
        net = Net(plain, ["93.184.216.34"])
        # When the address is registered, or called nevertheless
        with pytest.raises(UrlRefused):
            pytest.fail(f"{url} became {await net.http.check(url)}")
        # Then it is refused for what it is, and nothing was opened
        assert (await net.tried(url), net.opened) == ("address_refused", []), url


async def test_no_connection_is_opened_to_what_a_hostile_name_leads_to(plain: Settings) -> None:
    for address in INNER:
        for answer in ([address], [address, "8.8.8.8"], ["8.8.8.8", "1.1.1.1", "9.9.9.9", address]):
            net = Net(plain, answer)
            with pytest.raises(UrlRefused):
                await net.http.check(NAMED)
            assert (await net.tried(NAMED), net.opened) == ("address_refused", []), answer


@pytest.mark.parametrize("address", PUBLIC)
async def test_connections_to_public_addresses_are_opened(plain: Settings, address: str) -> None:
    # By name, and by the address itself
    net = Net(plain, [address])
    assert await net.http.check(NAMED) == NAMED
    assert (await net.tried(NAMED), net.opened) == ("connection", [(address, 443)])
    literal = f"[{address}]" if ":" in address else address
    net = Net(plain)
    assert await net.tried(f"https://{literal}/") == "connection"
    assert [(ip_address(opened), port) for opened, port in net.opened] == [(ip_address(address), 443)]
    assert net.looked_up == []


async def test_the_name_is_looked_up_once_and_that_answer_is_used(plain: Settings) -> None:
    # Given a name that is public when asked for the first time, and inner ever after
    net = Net(plain, ["8.8.8.8"], ["127.0.0.1"])
    # When a call is made, then it goes to what was checked
    assert (await net.tried(NAMED), net.opened, net.looked_up) == (
        "connection",
        [("8.8.8.8", 443)],
        ["hooks.example.com"],
    )
    # And the next call looks and checks anew
    assert (await net.tried(NAMED), net.opened) == ("address_refused", [("8.8.8.8", 443)])


async def test_a_registered_name_that_turns_inner_is_refused_when_it_is_called(plain: Settings) -> None:
    net = Net(plain, ["8.8.8.8"], ["169.254.169.254"])
    await net.http.check(NAMED)
    assert (await net.tried(NAMED), net.opened) == ("address_refused", [])


async def test_some_of_many_addresses_are_tried(plain: Settings) -> None:
    net = Net(plain, ["8.8.8.8", "1.1.1.1", "9.9.9.9", "4.4.4.4"])
    await net.tried(NAMED)
    assert net.opened == [("8.8.8.8", 443), ("1.1.1.1", 443), ("9.9.9.9", 443)]


@pytest.mark.parametrize(
    ("url", "kept", "asked"),
    [
        ("HTTPS://Hooks.Example.COM", "https://hooks.example.com/", "hooks.example.com"),
        ("https://bücher.example/a", "https://xn--bcher-kva.example/a", "xn--bcher-kva.example"),
        ("https://लोकल.example/", "https://xn--11b1db2h.example/", "xn--11b1db2h.example"),
        ("https://example.com.:443/a?b=c#", "https://example.com/a?b=c", "example.com"),
        ("https://ＥＸＡＭＰＬＥ.com/", "https://example.com/", "example.com"),
        ("https://example.com/%2e%2e/x", "https://example.com/%2e%2e/x", "example.com"),
    ],
)
async def test_an_address_is_kept_in_one_spelling(plain: Settings, url: str, kept: str, asked: str) -> None:
    net = Net(plain, ["8.8.8.8"])
    assert await net.http.check(url) == kept
    assert net.looked_up == [asked]


async def test_a_name_that_leads_nowhere_is_refused(plain: Settings) -> None:
    net = Net(plain, [])
    with pytest.raises(UrlRefused):
        await net.http.check(NAMED)
    assert await net.tried(NAMED) == "name_unknown"


async def test_another_port_is_a_matter_of_a_setting(plain: Settings) -> None:
    net = Net(plain, ["8.8.8.8"], webhook_ports=(443, 8443))
    assert await net.http.check("https://example.com:8443/") == "https://example.com:8443/"
    with pytest.raises(UrlRefused):
        await net.http.check("https://example.com:8444/")


async def test_development_may_call_its_own_machine_and_no_other_inner_one(plain: Settings) -> None:
    local = {"webhook_loopback": True}
    for url, answer in (("http://127.0.0.1:8100/x", []), ("http://localhost:81/", ["127.0.0.1", "::1"])):
        net = Net(plain, answer, **local)
        assert await net.http.check(url) == url
    for url, answer in (
        ("http://10.0.0.1/", []),
        ("https://10.0.0.1/", []),
        ("http://example.com/", ["8.8.8.8"]),
        ("http://example.com/", ["127.0.0.1", "8.8.8.8"]),
        ("https://example.com:81/", ["8.8.8.8"]),
        ("https://169.254.169.254/", []),
    ):
        net = Net(plain, answer, **local)
        assert (await net.tried(url), net.opened) == ("address_refused", []), url


async def test_a_name_server_that_does_not_answer_costs_the_time_of_one_call(plain: Settings) -> None:
    async def never(_: str, __: int) -> Iterable[str]:
        await asyncio.Event().wait()
        return []

    http = PublicHttp(plain.model_copy(update={"webhook_seconds": 0.05}), resolve=never)
    with pytest.raises(CallFailed) as failure:
        await http.post(NAMED, {}, b"")
    assert failure.value.reason == "timeout"
    with pytest.raises(UrlRefused):
        await http.check(NAMED)


async def test_names_that_are_never_answered_leave_room_for_others(
    plain: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a name server that takes its time with some names, and more calls to those than there are threads
    released, asked = threading.Event(), collections.Counter[str]()

    def look_up(name: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        asked[name] += 1
        if name.startswith("slow"):
            released.wait(10)
        return [(0, 0, 0, "", ("169.254.169.254", 443))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    patient = PublicHttp(plain.model_copy(update={"webhook_loopback": False}))
    hasty = PublicHttp(plain.model_copy(update={"webhook_loopback": False, "webhook_seconds": 0.05}))
    hasty._threads, hasty._under_way = patient._threads, patient._under_way
    try:
        for turn in range(20):
            calls = [hasty.post(f"https://slow-{number}.example.com/", {}, b"") for number in range(10)]
            assert {str(failed) for failed in await asyncio.gather(*calls, return_exceptions=True)} == {"timeout"}, turn
        # When somebody else's name is looked up
        with pytest.raises(CallFailed) as failure:
            await patient.post("https://quick.example.com/", {}, b"")
        # Then it is at once, and each slow name waits in one thread
        assert failure.value.reason == "address_refused"
        assert asked == {f"slow-{number}.example.com": 1 for number in range(10)} | {"quick.example.com": 1}
    finally:
        released.set()
        patient.close()
    # and once they are answered, they are asked anew
    while patient._under_way:  # noqa: ASYNC110 - threads tell no other way
        await asyncio.sleep(0.01)


_REFUSED_THOUGH_GLOBAL_4 = [IPv4Network("224.0.0.0/4"), IPv4Network("192.88.99.0/24"), IPv4Network("192.0.0.0/24")]
_REFUSED_THOUGH_GLOBAL_6 = [IPv6Network("2001::/23"), IPv6Network("2002::/16"), IPv6Network("3fff::/20")]
_NAT64 = IPv6Network("64:ff9b::/96")


def _known_difference(address: IPv4Address | IPv6Address) -> bool:
    """Where the library calls an address global and we do not call it public: each is on purpose."""
    if isinstance(address, IPv4Address):
        return any(address in network for network in _REFUSED_THOUGH_GLOBAL_4)
    if address.ipv4_mapped is not None:
        return _known_difference(address.ipv4_mapped)
    if address in _NAT64:
        return not is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
    outside = address not in IPv6Network("2000::/3")
    return outside or any(address in network for network in _REFUSED_THOUGH_GLOBAL_6)


def _edges() -> Iterator[IPv4Address | IPv6Address]:
    """First and last of every network that somebody has reserved, and their neighbours."""
    constants = (ipaddress._IPv4Constants, ipaddress._IPv6Constants)  # type: ignore[attr-defined]  # typeshed keeps silent about the library's copy of the registry
    for networks in (constants[0]._private_networks, constants[1]._private_networks):
        for network in networks:
            for number in (int(network[0]) - 1, int(network[0]), int(network[-1]), int(network[-1]) + 1):
                if 0 <= number < 2**network.max_prefixlen:
                    yield type(network[0])(number)


def _agrees(address: IPv4Address | IPv6Address) -> bool:
    if is_public(address):
        return address.is_global
    return not address.is_global or _known_difference(address)


@given(st.ip_addresses() | st.integers(0, 2**32 - 1).map(lambda low: IPv6Address((0x64FF9B << 96) | low)))
@examples(max_examples=EXAMPLES, deadline=None)
@example(IPv4Address("169.254.169.254"))
@example(IPv6Address("64:ff9b::a9fe:a9fe"))
@example(IPv6Address("::ffff:169.254.169.254"))
def test_no_address_is_public_that_the_registry_does_not_call_global(address: IPv4Address | IPv6Address) -> None:
    assert _agrees(address)


def test_the_edges_of_every_reserved_network_are_on_the_right_side() -> None:
    wrong = [address for address in _edges() if not _agrees(address)]
    assert wrong == []
