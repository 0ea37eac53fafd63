"""The pages that show the OpenAPI document: everything on them comes from here, and the browser is told so."""

import json
import re
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

PAGES = ("/docs", "/redoc")
FETCHING = re.compile(r"""(?:url\(|import\(|importScripts\(|fetch\(|src=)\s*["'`]?((?:https?:)?//[^"'`)\s]+)""")


class References(HTMLParser):
    """What a page fetches: the targets of everything that has a source, and what its own scripts name."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.scripts: list[str] = []
        self._in_script = False
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._in_script = tag == "script"
        wanted = {"src", "srcset", "data", "poster"} | ({"href"} if tag == "link" else set())
        self.fetched += [value for name, value in attributes if name in wanted and value]
        self.fetched += [value for name, value in attributes if name == "spec-url" and value]

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.scripts.append(data)


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_fetches_nothing_from_elsewhere(path: str, http: httpx.AsyncClient) -> None:
    # when
    page = await http.get(path)
    found = References(page.text)
    # then
    assert page.status_code == 200
    assert len(found.fetched) >= 2
    assert not re.findall(r"(?:https?:)?//[a-z]", "".join(found.scripts))
    for reference in found.fetched:
        target = urljoin(str(page.url), reference)
        assert urlsplit(target).netloc == page.url.netloc.decode(), reference
        asset = await http.get(target)
        assert asset.status_code == 200, reference
        if "javascript" in asset.headers["content-type"] or "css" in asset.headers["content-type"]:
            assert not FETCHING.findall(asset.text), reference


@pytest.mark.parametrize("path", [*PAGES, "/docs/swagger-ui-bundle.js", "/redoc/redoc.standalone.js", "/docs/none"])
async def test_the_browser_is_told_to_fetch_nothing_from_elsewhere(path: str, http: httpx.AsyncClient) -> None:
    # when
    headers = (await http.get(path)).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    # then
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    sources = {source for sources in policy.values() for source in sources.split()}
    assert sources <= {"'none'", "'self'", "'unsafe-inline'", "data:", "blob:"}
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"


async def test_the_document_is_whole(http: httpx.AsyncClient) -> None:
    # when
    document = (await http.get("/openapi.json")).json()
    # then
    references = set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(document)))
    schemas = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references <= schemas
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    names = [operation["operationId"] for operation in operations]
    assert document["openapi"].startswith("3.1")
    assert len(names) == len(set(names))
    assert all(operation["tags"] for operation in operations)
