"""The directory of routes finds what the list of routes would, only sooner."""

import re

import pytest
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from app.main import create_app
from app.routers.directory import Directory

DIRECTORY, *ROUTES = create_app().router.routes


def asked(method: str, path: str) -> Scope:
    return {"type": "http", "method": method, "path": path, "root_path": ""}


def first_of(routes: list[BaseRoute], scope: Scope) -> BaseRoute | None:
    return next((route for route in routes if route.matches(scope)[0] is Match.FULL), None)


def test_every_path_leads_to_the_route_that_the_list_leads_to() -> None:
    assert isinstance(DIRECTORY, Directory)
    plain = [route for route in ROUTES if isinstance(route, APIRoute)]
    for route in plain:
        # A parameter may read like the last word of another path.
        near = [other for other in plain if other.path.split("/")[:4] == route.path.split("/")[:4]]
        for word in {"x", *(other.path.rpartition("/")[2] for other in near)}:
            for method in route.methods or ():
                scope = asked(method, re.sub(r"{\w+}", word, route.path))
                match, found = DIRECTORY.matches(scope)
                assert "{" in "".join(route.path.split("/")[:4]) or match is Match.FULL, scope
                assert match is Match.NONE or found["route"] is first_of(ROUTES, scope), scope


@pytest.mark.parametrize("word", ["sum", "x"])
@pytest.mark.parametrize(
    "paths", [("/a/b/c/{id}/{part}", "/a/b/c/{id}/sum"), ("/a/b/c/{id}/sum", "/a/b/c/{id}/{part}")]
)
def test_of_two_routes_that_fit_the_first_is_found(paths: tuple[str, ...], word: str) -> None:
    routes: list[BaseRoute] = [APIRoute(path, lambda: None) for path in paths]
    scope = asked("GET", f"/a/b/c/1/{word}")
    assert Directory(routes).matches(scope)[1]["route"] is first_of(routes, scope)


@pytest.mark.parametrize(
    ("method", "path"),
    [("PATCH", "/healthz"), ("GET", "/healthz/"), ("GET", "/nothing"), ("GET", "/sandbox/checkout/x"), ("GET", "")],
)
def test_what_is_no_plain_call_is_left_to_the_list(method: str, path: str) -> None:
    assert DIRECTORY.matches(asked(method, path))[0] is Match.NONE
