"""The socket's documents: AsyncAPI for programs, and a page for people, on which they can watch their own events."""

import json
from functools import cache
from html import escape
from inspect import cleandoc
from pathlib import Path
from string import Template
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from app.core.errors import NotFound
from app.kernel.events import declared
from app.ws.asyncapi import ADDRESS, document, frame_example
from app.ws.protocol import CLIENT_FRAMES, CLOSINGS, SERVER_FRAMES, Frame

router = APIRouter(include_in_schema=False)

_ASSETS: Final = Path(__file__).parents[1] / "assets" / "socket"
_FILES: Final = {
    "page.js": ("text/javascript", (_ASSETS / "page.js").read_bytes()),
    "page.css": ("text/css", (_ASSETS / "page.css").read_bytes()),
}
_PAGE: Final = Template((_ASSETS / "page.html").read_text("utf-8"))
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-cache",
}


@router.get("/docs/socket")
async def show() -> HTMLResponse:
    """The page."""
    return HTMLResponse(_rendered(), headers=_HEADERS)


@router.get("/docs/socket/{name}")
async def asset(name: str) -> Response:
    """Its script and its style."""
    found = _FILES.get(name)
    if found is None:
        raise NotFound()
    kind, content = found
    return Response(content, media_type=kind, headers=_HEADERS)


@router.get("/asyncapi.json")
async def asyncapi(request: Request) -> JSONResponse:
    """The AsyncAPI document of this server."""
    return JSONResponse(document(request.app.state.settings.public_url, request.app.version))


@cache
def _rendered() -> str:
    codes = "\n".join(
        f"<tr><td>{code}</td><td>{escape(closing.meaning)}</td><td>{escape(closing.remedy)}</td></tr>"
        for code, closing in sorted(CLOSINGS.items())
    )
    events = "\n".join(f"<li><code>{escape(event.name)}</code></li>" for event in declared())
    return _PAGE.substitute(
        address=ADDRESS,
        client_frames=_frames(CLIENT_FRAMES),
        server_frames=_frames(SERVER_FRAMES),
        codes=codes,
        events=f'<ul class="events">\n{events}\n</ul>',
    )


def _frames(frames: tuple[type[Frame], ...]) -> str:
    return '<dl class="frames">\n' + "\n".join(_described(frame) for frame in frames) + "\n</dl>"


def _described(frame: type[Frame]) -> str:
    words = "</dd>\n<dd>".join(escape(part) for part in cleandoc(frame.__doc__ or "").split("\n\n"))
    text = escape(json.dumps(frame_example(frame), ensure_ascii=False))
    return f"<dt>{escape(frame.__name__)}</dt>\n<dd><code>{text}</code></dd>\n<dd>{words}</dd>"
