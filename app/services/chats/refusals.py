"""Why a message is not sent, or something else is not done, in a conversation."""

from app.core.errors import Conflict, Forbidden, Unprocessable


class MessagesBlocked(Forbidden):
    """Does not tell which of the two it was."""

    code, title = "messages_blocked", "There are no new messages between you."


class JoinFirst(Forbidden):
    code, title = "join_first", "Join the conversation before you write in it."


class NobodyThere(Conflict):
    code, title = "nobody_there", "Nobody else takes part in this conversation any more."


class ContactsNotOpen(Conflict):
    code, title = "contacts_not_open", "Images can be sent once this has been paid for."


class ClientMessageIdReused(Unprocessable):
    code, title = "client_message_id_reused", "This client_message_id was used for a different message."


class AlreadySent(Conflict):
    """Never leaves the service: the first message is answered instead."""

    code, title = "already_sent", "This message was sent already."


class AlreadyTakesPart(Conflict):
    code, title = "already_takes_part", "You take part in this conversation as a party."


class ConversationClosed(Conflict):
    code, title = "conversation_closed", "This conversation was closed; it can be read only."
