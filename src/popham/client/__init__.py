"""The REST client: what the command line and other programs ask a Manager with.

Answers are plain data, as the API renders them; errors come back as the same
families that the Manager raised, with code, hint and place.
"""

from popham.client.client import Client
from popham.client.problems import FAMILIES, error_from
from popham.client.transport import MAX_ANSWER, PAGE, PROBLEM_TYPE, TIMEOUT

__all__ = ["FAMILIES", "MAX_ANSWER", "PAGE", "PROBLEM_TYPE", "TIMEOUT", "Client", "error_from"]
