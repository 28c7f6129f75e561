"""What ``hub doctor`` finds: one diagnosis for each thing looked at, well or at fault, and what to do about a fault.

Examinations run all at once, each with a deadline, and none can end another: what one raises becomes its diagnosis.
Texts come from the errors of the hub, which hold no secret.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from hub.errors import HubError


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing that was looked at; ``expected`` and ``remedy`` are of a fault alone."""

    check: str
    ok: bool
    got: str
    expected: str = ""
    remedy: str = ""


Examination = Callable[[], Awaitable[Sequence[Diagnosis]]]
"""Looks at one thing without changing it."""


def well(check: str, got: str) -> Diagnosis:
    """Diagnose that all is well, with what was seen."""
    return Diagnosis(check, True, got)


def fault(check: str, *, expected: str, got: str, remedy: str) -> Diagnosis:
    """Diagnose a fault: what should have been there, what was, what a person can do."""
    return Diagnosis(check, False, got, expected, remedy)


async def examine(examinations: Mapping[str, Examination], *, within: float) -> list[Diagnosis]:
    """Run all examinations at once and give what they found, in their order.

    Args:
        examinations: by what they look at.
        within: seconds that each may take.
    """

    async def run(check: str, examination: Examination) -> Sequence[Diagnosis]:
        try:
            async with asyncio.timeout(within):
                return await examination()
        except TimeoutError:
            got = f"no answer within {within:g} s"
        except (HubError, OSError) as error:
            got = str(error) or type(error).__name__
        return [fault(check, expected="an answer", got=got, remedy="look at it by hand")]

    found = await asyncio.gather(*(run(check, examination) for check, examination in examinations.items()))
    return [diagnosis for diagnoses in found for diagnosis in diagnoses]
