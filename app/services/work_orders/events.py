"""What happens to work orders.

The docstrings say who is notified. Besides, the buyer, the booster, the advertiser and whoever acted hear of everything
quietly, whose lists show it.
"""

from typing import ClassVar
from uuid import UUID

from app.kernel.events import PUSHED, Channel, Event, entitle

entitle("work_order", en="Work orders", hi="कार्य आदेश")


class _AboutOrder(Event):
    channels: ClassVar = PUSHED
    on_request: ClassVar = frozenset({Channel.MAIL})
    work_order_id: UUID
    title: str
    status: str


class Created(_AboutOrder):
    """To the advertiser and the team."""

    name: ClassVar = "work_order.created"
    messages: ClassVar = {
        "en": "“{title}” was bought. Assign a booster.",
        "hi": "“{title}” ख़रीदा गया है। एक बूस्टर नियुक्त करें।",
    }
    price_minor: int
    currency: str


class Assigned(_AboutOrder):
    """To the booster."""

    name: ClassVar = "work_order.assigned"
    messages: ClassVar = {
        "en": "You have been assigned to “{title}”.",
        "hi": "“{title}” का काम आपको सौंपा गया है।",
    }
    booster_id: UUID


class Unassigned(_AboutOrder):
    """To the booster who was replaced before the work had begun."""

    name: ClassVar = "work_order.unassigned"
    messages: ClassVar = {
        "en": "“{title}” was given to another booster.",
        "hi": "“{title}” का काम किसी और बूस्टर को दे दिया गया है।",
    }


class Started(_AboutOrder):
    """To the buyer."""

    name: ClassVar = "work_order.started"
    messages: ClassVar = {
        "en": "Work on “{title}” has begun.",
        "hi": "“{title}” पर काम शुरू हो गया है।",
    }
    booster_id: UUID


class EvidenceSubmitted(_AboutOrder):
    """To the reviewers: the advertiser, the team, support and admins, but never the booster or the buyer."""

    name: ClassVar = "work_order.evidence_submitted"
    messages: ClassVar = {
        "en": "Evidence for “{title}” waits for a review.",
        "hi": "“{title}” का प्रमाण समीक्षा की प्रतीक्षा में है।",
    }
    round: int


class ReviewStarted(_AboutOrder):
    """To the booster."""

    name: ClassVar = "work_order.review_started"
    messages: ClassVar = {
        "en": "Your evidence for “{title}” is being reviewed.",
        "hi": "“{title}” के आपके प्रमाण की समीक्षा हो रही है।",
    }


class Completed(_AboutOrder):
    """To the booster, the buyer and the advertiser."""

    name: ClassVar = "work_order.completed"
    messages: ClassVar = {
        "en": "“{title}” is completed, and the booster is paid.",
        "hi": "“{title}” पूरा हो गया है और बूस्टर को भुगतान हो गया है।",
    }
    earned_minor: int
    currency: str


class Rejected(_AboutOrder):
    """To the booster, who may hand in again."""

    name: ClassVar = "work_order.rejected"
    messages: ClassVar = {
        "en": "Your evidence for “{title}” was not accepted: {reason}",
        "hi": "“{title}” का आपका प्रमाण स्वीकार नहीं हुआ: {reason}",
    }
    reason: str
    category: str


class Cancelled(_AboutOrder):
    """To the buyer, the booster and the advertiser."""

    name: ClassVar = "work_order.cancelled"
    messages: ClassVar = {
        "en": "“{title}” was cancelled: {reason}",
        "hi": "“{title}” रद्द कर दिया गया: {reason}",
    }
    reason: str


class Disputed(_AboutOrder):
    """To the buyer, the booster, the advertiser, and support, who resolves it."""

    name: ClassVar = "work_order.disputed"
    messages: ClassVar = {
        "en": "“{title}” is disputed: {reason}",
        "hi": "“{title}” पर विवाद है: {reason}",
    }
    disputed_by: UUID
    reason: str


class Resolved(_AboutOrder):
    """To the buyer, the booster and the advertiser. The parts are null if the work goes on."""

    name: ClassVar = "work_order.resolved"
    messages: ClassVar = {
        "en": "The dispute about “{title}” is resolved: {resolution_notes}",
        "hi": "“{title}” का विवाद सुलझ गया: {resolution_notes}",
    }
    resolution_notes: str
    earned_minor: int | None
    refunded_minor: int | None
    currency: str


class Overridden(_AboutOrder):
    """To the buyer, the booster and the advertiser: an admin has decided otherwise."""

    name: ClassVar = "work_order.overridden"
    messages: ClassVar = {
        "en": "A decision about “{title}” was overridden: {reason}",
        "hi": "“{title}” के बारे में निर्णय बदल दिया गया: {reason}",
    }
    reason: str
    earned_minor: int
    refunded_minor: int
    currency: str


class Rated(_AboutOrder):
    """To the advertiser."""

    name: ClassVar = "work_order.rated"
    messages: ClassVar = {
        "en": "The buyer of “{title}” gave {rating} of 5 stars.",
        "hi": "“{title}” के ख़रीदार ने 5 में से {rating} सितारे दिए।",
    }
    rating: int
