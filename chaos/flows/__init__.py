"""The flows that are played while everything burns. A new flow joins the list."""

from typing import Final

from chaos.flows.base import Flow
from chaos.flows.chats import Chats
from chaos.flows.expiries import Expiries
from chaos.flows.leads import Leads
from chaos.flows.payments import TopUps
from chaos.flows.payouts import Payouts
from chaos.flows.work_orders import WorkOrders

FLOWS: Final[tuple[type[Flow], ...]] = (Leads, Expiries, WorkOrders, TopUps, Payouts, Chats)
