"""The page that documents the socket: everything on it comes from here, nothing of it runs in line."""

import re
from html import unescape

import httpx

from app.ws.protocol import CLIENT_FRAMES, CLOSINGS, SERVER_FRAMES


async def test_the_page_runs_nothing_but_its_own_script_and_talks_to_this_server_only(http: httpx.AsyncClient) -> None:
    page = await http.get("/docs/socket")
    assert page.status_code == 200
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "no-referrer"
    # and asks for nothing that this would forbid
    assert not re.search(r"<script(?![^>]*\bsrc=)|\sstyle=|<style|\son[a-z]+=|https?://", page.text)


async def test_its_script_and_style_are_there_and_nothing_else_is(http: httpx.AsyncClient) -> None:
    page = await http.get("/docs/socket")
    kinds = {}
    for reference in re.findall(r'(?:src|href)="(socket/[^"]+)"', page.text):
        asset = await http.get(f"/docs/{reference}")
        assert asset.status_code == 200
        assert asset.headers["content-security-policy"].startswith("default-src 'none'")
        assert not re.search(r"https?://", asset.text)
        kinds[reference] = asset.headers["content-type"].partition(";")[0]
    assert kinds == {"socket/page.css": "text/css", "socket/page.js": "text/javascript"}
    for name in ("page.html", "none", "..%2fpage.html", "%00", "%2e%2e/%2e%2e/main.py"):
        assert (await http.get(f"/docs/socket/{name}")).status_code == 404, name


async def test_it_names_every_frame_and_every_closing_code(http: httpx.AsyncClient) -> None:
    text = unescape((await http.get("/docs/socket")).text)
    assert [kind.__name__ for kind in (*CLIENT_FRAMES, *SERVER_FRAMES) if f"<dt>{kind.__name__}</dt>" not in text] == []
    assert [code for code in CLOSINGS if f"<td>{code}</td>" not in text] == []
    assert "$" not in text
    # and the pages beside it are still there
    for path in ("/docs", "/docs/swagger-ui-bundle.js", "/redoc"):
        assert (await http.get(path)).status_code == 200
