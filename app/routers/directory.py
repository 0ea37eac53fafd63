"""Finds the route of a request by its words, where the framework compares it with one path after the other."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

_HEAD: Final = 4
"""Parts of a path that name the noun: "", "api", "v1", "work-orders"."""
_Key = tuple[str, int, tuple[str, ...]]


class Directory(BaseRoute):
    """Stands before a list of routes and finds the one that the list would, but for what is no plain call of a route:
    that it leaves to the list, and with it redirects and refusals."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        fitting: defaultdict[_Key, list[APIRoute]] = defaultdict(list)
        for route in routes:
            if isinstance(route, APIRoute) and not any("{" in part for part in _parts(route)[:_HEAD]):
                for method in route.methods or ():
                    fitting[_key(method, _parts(route))].append(route)
        self._others = {key: [route for route in alike if _last(route) is None] for key, alike in fitting.items()}
        self._named = {
            (*key, last): [route for route in alike if _last(route) in (last, None)]
            for key, alike in fitting.items()
            for last in map(_last, alike)
            if last is not None
        }

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] == "http" and not scope.get("root_path"):
            parts = scope["path"].split("/")
            key = _key(scope["method"], parts)
            for route in self._named.get((*key, parts[-1]), self._others.get(key, [])):
                match, found = route.matches(scope)
                if match is Match.FULL:
                    return match, found
        return Match.NONE, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await scope["route"].handle(scope, receive, send)  # it has named itself when it matched


def _parts(route: APIRoute) -> list[str]:
    """A parameter is one part: none of ours spans several."""
    return route.path.split("/")


def _key(method: str, parts: list[str]) -> _Key:
    return method, len(parts), tuple(parts[:_HEAD])


def _last(route: APIRoute) -> str | None:
    """The last word of the route's path; None where that is a parameter."""
    last = _parts(route)[-1]
    return None if "{" in last else last
