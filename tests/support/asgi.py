"""What the stand-ins for other people's servers have in common: each is an ASGI application without a framework."""

from typing import Any


async def taken(scope: Any, receive: Any) -> tuple[dict[str, str], bytes]:
    """The headers and the body of a request.

    Raises NotImplementedError for anything else: so uvicorn learns that there is nothing to start and to stop.
    """
    if scope["type"] != "http":
        raise NotImplementedError(f"only http, not {scope['type']}")
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return headers, body
