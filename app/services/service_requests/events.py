"""What happens to service requests and leads."""

from typing import ClassVar
from uuid import UUID

from app.kernel.events import PUSHED, Channel, Event, entitle

entitle("service_request", en="Requests", hi="काम के अनुरोध")
entitle("lead", en="Leads", hi="लीड")


class Created(Event):
    """To matching providers: nothing that tells who or where exactly. Quietly to the customer."""

    name: ClassVar = "service_request.created"
    messages: ClassVar = {
        "en": "A new request near you: {service_name}.",
        "hi": "आपके पास एक नया काम: {service_name_hi}।",
    }
    channels: ClassVar = PUSHED
    on_request: ClassVar = frozenset({Channel.MAIL, Channel.SMS})
    urgent: ClassVar = True
    service_request_id: UUID
    service_id: UUID
    service_name: str
    service_name_hi: str
    fee_minor: int
    currency: str


class Purchased(Event):
    name: ClassVar = "service_request.purchased"
    messages: ClassVar = {
        "en": "{provider_name} is interested in your request.",
        "hi": "{provider_name} आपके काम में रुचि रखते हैं।",
    }
    channels: ClassVar = PUSHED
    on_request: ClassVar = frozenset({Channel.MAIL, Channel.SMS})
    service_request_id: UUID
    provider_id: UUID
    provider_name: str
    buyers_count: int
    status: str


class Started(Event):
    name: ClassVar = "service_request.started"
    messages: ClassVar = {
        "en": "{provider_name} has started to work on your request.",
        "hi": "{provider_name} ने आपका काम शुरू कर दिया है।",
    }
    channels: ClassVar = PUSHED
    on_request: ClassVar = frozenset({Channel.MAIL})
    service_request_id: UUID
    provider_id: UUID
    provider_name: str
    status: str


class Progressed(Event):
    """Quietly to all purchasers, whose leads show the request's status; who has started is for the customer to know."""

    name: ClassVar = "service_request.progressed"
    messages: ClassVar = {"en": "A provider has started.", "hi": "एक प्रदाता ने काम शुरू कर दिया है।"}
    service_request_id: UUID
    status: str


class Completed(Event):
    """To the customer, and quietly to the winner."""

    name: ClassVar = "service_request.completed"
    messages: ClassVar = {
        "en": "{provider_name} has completed your request. Look at the proof and approve it.",
        "hi": "{provider_name} ने आपका काम पूरा कर दिया है। प्रमाण देखकर स्वीकृति दें।",
    }
    channels: ClassVar = PUSHED
    on_request: ClassVar = frozenset({Channel.MAIL, Channel.SMS})
    service_request_id: UUID
    provider_id: UUID
    provider_name: str
    status: str
    proof_id: UUID
    notes: str | None


class Lost(Event):
    """To the other purchasers."""

    name: ClassVar = "service_request.lost"
    messages: ClassVar = {
        "en": "Another provider was faster with this request.",
        "hi": "इस काम में दूसरा प्रदाता आपसे तेज़ रहा।",
    }
    channels: ClassVar = PUSHED
    on_request: ClassVar = frozenset({Channel.MAIL})
    service_request_id: UUID
    status: str


class Approved(Event):
    """To the winner. Quietly to the customer and the other purchasers."""

    name: ClassVar = "service_request.approved"
    messages: ClassVar = {
        "en": "The customer has approved your work.",
        "hi": "ग्राहक ने आपका काम स्वीकार कर लिया है।",
    }
    channels: ClassVar = PUSHED
    on_request: ClassVar = frozenset({Channel.MAIL})
    service_request_id: UUID
    provider_id: UUID
    status: str


class SentBack(Event):
    """To all purchasers: the race is open again. Quietly to the customer."""

    name: ClassVar = "service_request.sent_back"
    messages: ClassVar = {
        "en": "The customer sent the work back: {reason} The race is open again.",
        "hi": "ग्राहक ने काम वापस भेजा: {reason} दौड़ फिर से खुली है।",
    }
    channels: ClassVar = PUSHED
    on_request: ClassVar = frozenset({Channel.MAIL, Channel.SMS})
    urgent: ClassVar = True
    service_request_id: UUID
    reason: str
    status: str


class Cancelled(Event):
    """To the purchasers. Quietly to the customer."""

    name: ClassVar = "service_request.cancelled"
    messages: ClassVar = {
        "en": "The customer cancelled the request: {reason}",
        "hi": "ग्राहक ने काम रद्द कर दिया: {reason}",
    }
    channels: ClassVar = PUSHED
    on_request: ClassVar = frozenset({Channel.MAIL, Channel.SMS})
    service_request_id: UUID
    reason: str
    status: str


class Expired(Event):
    """To the customer and the purchasers."""

    name: ClassVar = "service_request.expired"
    messages: ClassVar = {
        "en": "The request expired: nothing happened for a long time.",
        "hi": "काम का अनुरोध समाप्त हो गया: लंबे समय तक कुछ नहीं हुआ।",
    }
    channels: ClassVar = PUSHED
    on_request: ClassVar = frozenset({Channel.MAIL})
    service_request_id: UUID
    status: str


class LeadPurchased(Event):
    """To the provider: the fee is paid, the contact details are open."""

    name: ClassVar = "lead.purchased"
    messages: ClassVar = {
        "en": "You have bought a lead. The customer's contact details are open to you.",
        "hi": "आपने एक लीड खरीदी है। ग्राहक का संपर्क विवरण अब आपके लिए खुला है।",
    }
    lead_id: UUID
    service_request_id: UUID
    fee_minor: int
    currency: str


class LeadReported(Event):
    """To support and to the region's managers. Quietly to the provider."""

    name: ClassVar = "lead.reported"
    messages: ClassVar = {
        "en": "A provider reported a bad lead ({report_reason}).",
        "hi": "एक प्रदाता ने ख़राब लीड की शिकायत की ({report_reason})।",
    }
    channels: ClassVar = PUSHED
    on_request: ClassVar = frozenset({Channel.MAIL})
    lead_id: UUID
    service_request_id: UUID
    provider_id: UUID
    report_reason: str
    report_note: str | None


class LeadRefunded(Event):
    """To the provider: the fee is back in the wallet. `decision_reason` is support's, if a report led to it."""

    name: ClassVar = "lead.refunded"
    messages: ClassVar = {
        "en": "The fee for a lead was returned to your wallet.",
        "hi": "एक लीड का शुल्क आपके वॉलेट में वापस आ गया है।",
    }
    channels: ClassVar = PUSHED
    on_request: ClassVar = frozenset({Channel.MAIL})
    lead_id: UUID
    service_request_id: UUID
    fee_minor: int
    currency: str
    decision_reason: str | None


class LeadReportRefused(Event):
    name: ClassVar = "lead.report_refused"
    messages: ClassVar = {
        "en": "Your report of a bad lead was turned down: {reason}",
        "hi": "ख़राब लीड की आपकी शिकायत अस्वीकार कर दी गई: {reason}",
    }
    channels: ClassVar = PUSHED
    on_request: ClassVar = frozenset({Channel.MAIL})
    lead_id: UUID
    service_request_id: UUID
    reason: str
