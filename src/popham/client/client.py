"""All that a Manager can be asked, in one class."""

from __future__ import annotations

from popham.client.agents import AgentCalls
from popham.client.alerts import AlertCalls
from popham.client.data import DataCalls
from popham.client.drafts import DraftCalls
from popham.client.grants import GrantCalls
from popham.client.objects import ObjectCalls
from popham.client.operations import OperationCalls
from popham.client.policies import PolicyCalls
from popham.client.proxies import ProxyCalls
from popham.client.rollouts import RolloutCalls
from popham.client.summary import SummaryCalls


class Client(
    AgentCalls,
    AlertCalls,
    DataCalls,
    DraftCalls,
    GrantCalls,
    ObjectCalls,
    OperationCalls,
    PolicyCalls,
    ProxyCalls,
    RolloutCalls,
    SummaryCalls,
):
    """One Manager's REST API.

    Use it as a context manager, or call :meth:`close`.
    """
