"""Why a step of a work order is refused, and what the walls behind the rules mean."""

from app.core.database import refuse_violation
from app.core.errors import Conflict, Forbidden, Unprocessable


class OwnService(Conflict):
    code, title = "own_service", "Nobody buys their own service."


class NotInCharge(Forbidden):
    code, title = "not_in_charge", "Only the advertiser, a team mate or support may do this."


class NotTheBooster(Forbidden):
    code, title = "not_the_booster", "Only the booster of this order may do this."


class NotTheBuyer(Forbidden):
    code, title = "not_the_buyer", "Only the buyer may do this."


class NotAReviewer(Forbidden):
    """Whoever buys the work or does it never reviews it, whatever other role they hold on the order."""

    code, title = "not_a_reviewer", "Only a reviewer who neither buys nor does this work may do this."


class NotAParty(Forbidden):
    code, title = "not_a_party", "Only the buyer or the booster may do this."


class NotABooster(Unprocessable):
    code, title = "not_a_booster", "This is no active booster, or it is the buyer."


class TooLateToCancel(Conflict):
    code, title = "too_late_to_cancel", "A booster is assigned: only support can cancel now, or open a dispute."


class NobodyToPay(Conflict):
    code, title = "nobody_to_pay", "Nobody has begun to work on this order, so there is nothing to pay for."


class AlreadyRated(Conflict):
    code, title = "already_rated", "An order is rated once."


class AlreadyOverridden(Conflict):
    code, title = "already_overridden", "What an admin has overridden is final."


class AlreadyResolved(Conflict):
    code, title = "already_resolved", "A dispute was resolved, which is done once."


# The walls behind the guards, in their words.
refuse_violation("work_orders_bought_from_another", OwnService)
refuse_violation("work_orders_booster_is_not_buyer", NotABooster)
refuse_violation("work_orders_reviewed_by_another", NotAReviewer)
refuse_violation("work_orders_overridden_by_another", NotAReviewer)
refuse_violation("evidence_rounds_reviewed_by_another", NotAReviewer)
