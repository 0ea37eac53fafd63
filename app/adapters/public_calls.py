"""The calls themselves of `public_http.py`, over connections to the addresses that were checked and to no others."""

import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final

import httpcore

from app.adapters.public_http import CallFailed, Connect, Target

_CONNECT_SECONDS: Final = 4


class PublicCalls:
    """`connect` and `tls` are the HTTP library's own if none are given."""

    def __init__(self, connect: Connect | None, tls: ssl.SSLContext | None) -> None:
        self._connect = connect or _connect
        self._tls = tls or httpcore.default_ssl_context()

    async def post(self, target: Target, addresses: Sequence[str], headers: Mapping[str, str], body: bytes) -> int:
        """See `public_http.Call`. `CallFailed` if no answer came."""
        try:
            return await self._ask(target, addresses, headers, body)
        except (TimeoutError, httpcore.TimeoutException) as error:
            raise CallFailed("timeout") from error
        except (httpcore.NetworkError, OSError) as error:
            # The pool raises it anew without its cause; in what context it was raised first is still there.
            raise CallFailed("tls" if isinstance(error.__context__, ssl.SSLError) else "connection") from error
        except httpcore.ProtocolError as error:
            raise CallFailed("protocol") from error

    async def _ask(self, target: Target, addresses: Sequence[str], headers: Mapping[str, str], body: bytes) -> int:
        sent = {
            "Host": target.authority,
            "User-Agent": "LocalBazaar-Webhooks/1",
            "Accept": "*/*",
            "Connection": "close",
            "Content-Length": str(len(body)),
        }
        # A pool for each call: a connection that was kept would lead to where the name led before.
        pool = httpcore.AsyncConnectionPool(
            ssl_context=self._tls,
            max_connections=1,
            max_keepalive_connections=0,
            network_backend=_Pinned(addresses, self._connect),
        )
        url = httpcore.URL(
            scheme=target.scheme.encode(), host=target.host.encode(), port=target.port, target=target.path.encode()
        )
        async with (
            pool,
            pool.stream(
                "POST",
                url,
                headers=list((sent | dict(headers)).items()),
                content=body,
                extensions={"timeout": {"connect": _CONNECT_SECONDS}},
            ) as answer,
        ):
            return answer.status


class _Pinned(httpcore.AsyncNetworkBackend):
    """Opens connections to addresses that were checked, whatever name it is asked for."""

    def __init__(self, addresses: Sequence[str], connect: Connect) -> None:
        self._addresses = addresses
        self._connect: Callable[[str, int, float | None], Awaitable[httpcore.AsyncNetworkStream]] = connect

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the library's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        *others, last = self._addresses
        for address in others:
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return await self._connect(address, port, timeout)
        return await self._connect(last, port, timeout)


async def _connect(address: str, port: int, seconds: float | None) -> httpcore.AsyncNetworkStream:
    return await httpcore.AnyIOBackend().connect_tcp(address, port, seconds)
