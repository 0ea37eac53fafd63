"""What each frame of a client does; whatever is refused is answered with an error frame."""

from typing import Any
from uuid import UUID

from pydantic import ValidationError

from app.core.config import Settings
from app.core.errors import Problem
from app.ws import protocol
from app.ws.acknowledgements import Acknowledgements
from app.ws.hub import Connection, Hub
from app.ws.topics import Follower, Topics


class Operations:
    """The operations of one socket."""

    def __init__(
        self, hub: Hub, topics: Topics, acknowledgements: Acknowledgements, connection: Connection, settings: Settings
    ) -> None:
        self._hub, self._topics, self._acknowledgements = hub, topics, acknowledgements
        self._connection = connection
        self._frame_limit = settings.socket_frame_limit_bytes
        self.follower = Follower(connection)

    def leave(self) -> None:
        """The socket is closed."""
        self._topics.leave(self.follower)
        self._hub.leave(self._connection)

    async def carry_out(self, text: str | None) -> dict[str, Any] | None:
        """Do what the frame says; the error frame if it was refused."""
        if text is None or len(text) > self._frame_limit:
            return protocol.error("frame_refused")
        try:
            frame = protocol.ClientFrame.validate_json(text)
        except ValidationError:
            return protocol.error("frame_unknown")
        match frame:
            case protocol.Ping():
                self._connection.push(protocol.Pong().wire())
                return None
            case protocol.Ack(id=event_id):
                self._acknowledgements.note(self._connection.session_id, event_id)
                return None
            case protocol.Resume(after=after):
                return await self._resume(after)
            case _:
                code = await self._on_topic(frame)
                return protocol.error(code, frame.topic) if code else None

    async def _resume(self, after: UUID | None) -> dict[str, Any] | None:
        try:
            if after is None:
                after = await self._acknowledgements.last(self._connection.session_id)
            code = "resume_unknown" if after is None else await self._hub.resume(self._connection, after)
        except Problem:
            # With live events only, the client would believe that it missed nothing: it has to come back and ask again.
            self._connection.close(protocol.TRY_AGAIN)
            return None
        return protocol.error(code) if code else None

    async def _on_topic(
        self, frame: protocol.Subscribe | protocol.Unsubscribe | protocol.Typing | protocol.SendPosition
    ) -> str | None:
        match frame:
            case protocol.Subscribe(topic=topic):
                return await self._subscribe(topic)
            case protocol.Unsubscribe(topic=topic):
                code = self._topics.unsubscribe(self.follower, topic)
                if code is None:
                    self._connection.push(protocol.Unsubscribed(topic=topic, reason="asked").wire())
                return code
            case protocol.Typing(topic=topic):
                return self._topics.typing(self.follower, topic)
            case protocol.SendPosition():
                return self._topics.position(self.follower, frame)

    async def _subscribe(self, topic: str) -> str | None:
        try:
            code = await self._topics.subscribe(self.follower, topic)
        except Problem:
            return "topic_unavailable"
        if code is None:
            self._connection.push(protocol.Subscribed(topic=topic).wire())
        return code
