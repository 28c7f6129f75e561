"""Every error the hub raises on purpose, grouped by what happens next.

The reader of ``except TransientError`` knows the remedy: the same work is tried again later.

    HubError
    ├── ConfigError                   the operator must change something before it can work; exit status 2
    │   └── TopologyDrift             the broker differs from the map in a way that cannot be mended by declaring
    ├── TransientError                becomes Retry: the same work may succeed later
    │   ├── PartnerUnavailable        timeout, connection error, 5xx
    │   │   ├── IncompleteResponse              no complete answer came; says what kept it (hub.http.session)
    │   │   │   └── NoResponse       and PartnerUnreachable: nothing of an answer came (hub.http.session)
    │   │   ├── PartnerUnreachable           unreachable: no connection, no TLS, no answer in time, or a gateway's 502, 503, 504
    │   │   │   ├── NoResponse       the same as above (hub.http.session)
    │   │   │   └── PartnerUnreachableUntil  and Throttled: the same, with a hint when it is back
    │   │   │       └── TokenUnavailable  a token service that answers neither a token nor a refusal (hub.http.tokens)
    │   │   └── Refused               an error of RetailOps' own, of which nothing says that it is final (hub.partners.retailops.answers)
    │   ├── Throttled                 429 or 503 with a hint when to come back (``retry_after``)
    │   │   ├── CredentialsRefused    and Unauthorized: the token service said no (hub.http.tokens)
    │   │   └── PartnerUnreachableUntil      the same as above
    │   │       └── TokenUnavailable  the same as above (hub.http.tokens)
    │   ├── Unauthorized              401 even with a new token, or no token to be had
    │   │   └── CredentialsRefused    the same as above
    │   ├── BrokerUnavailable         not connected, or a publish was not confirmed in time; costs no attempt
    │   │   ├── PublishersBlocked     the broker is short of memory or disk, and the message was not sent
    │   │   └── NotRouted             an exchange, queue or binding of the map is missing on the broker
    │   ├── StoreUnavailable          the state store does not answer, is locked or its disk is full; costs no attempt
    │   │   └── StatementRejected          it answers, and refuses a statement: a fault of ours
    │   └── Busy                      another process holds the order or the effect; costs no attempt
    │       ├── CircuitOpen              the destination is known to be away, and is not called; costs no attempt
    │       └── ProcessLimit          this process can open no more files or connections; costs no attempt
    ├── PermanentError                becomes Reject: the same work would fail again
    │   ├── InvalidMessage            the message breaks the contract of its type; names the field
    │   │   ├── UnknownOrder          an order id that no producer has recorded
    │   │   ├── UnknownCarrierClass   RetailOps lists no class of that name (hub.partners.retailops.client)
    │   │   ├── OtherContent          an id comes again with other content (hub.state.event_identity)
    │   │   └── IncompleteWebhooks    some webhooks of an event lack what they need (hub.partners.optoro.translate)
    │   ├── PartnerRejected           the partner understood and refused (4xx)
    │   │   ├── PageRefused           iQmetrix refuses a page of the feed (hub.partners.iqmetrix.client)
    │   │   └── PageMissing           iQmetrix has no such page (hub.partners.iqmetrix.client)
    │   ├── MessageRefused            the broker refuses this one message, and would refuse it again
    │   ├── PartnerContractBroken     the partner's answer is not what its documents promise
    │   │   └── PageUnreadable        a page of the feed whose entries cannot be separated (hub.partners.iqmetrix.feed)
    │   └── CrashedTooOften           handling it ended in a crash again and again (hub.amqp.receiving.custody)
    ├── BrokerNodeError               the private broker cannot start (hub.local_broker.port_reservation)
    ├── ArchiveChainBroken                      an archive chain is broken: the cursor stays until a person decides
    └── LeaseHeld                     somebody else holds what one at a time may do, such as a poller; says who

Those that name a module are defined there, next to what raises them.
"""

from __future__ import annotations

import dataclasses
import re
from datetime import timedelta


@dataclasses.dataclass(frozen=True, slots=True)
class ErrorFacts:
    """What is known of an error beside its sentence; read by settlement, log, metrics and grouping of letters.

    None of them holds a value of a message or prose of a partner, but ``answer``.
    """

    partner: str = ""
    """``iqmetrix``, ``retailops``, or the name of a webhook client."""
    operation: str = ""
    """The call, as the partner names it."""
    status: int | None = None
    """The HTTP status of the answer."""
    code: str = ""
    """A word for machines: the partner's own code, or the hub's for what it found itself."""
    field: str = ""
    """The path of the field that is wrong."""
    answer: str = dataclasses.field(default="", repr=False, compare=False)
    """The start of the partner's answer, which may be personal: kept on the letter, shown on demand only."""

    def __bool__(self) -> bool:
        return bool(self.partner or self.operation or self.status or self.code or self.field)


NO_FACTS = ErrorFacts()


class HubError(Exception):
    """Something went wrong in the hub."""

    def __init__(self, message: str = "", *, facts: ErrorFacts = NO_FACTS) -> None:
        super().__init__(message or (type(self).__doc__ or "").splitlines()[0])
        self._facts = facts

    @property
    def facts(self) -> ErrorFacts:
        """What is known of it; with neither code nor status the code is its class (``unknown_order``)."""
        facts = self._facts
        known = facts.code or facts.status
        return facts if known else dataclasses.replace(facts, code=_code_of(type(self)))


def _code_of(kind: type[HubError]) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()


class ConfigError(HubError):
    """The settings or the surroundings must be changed before this can work.

    ``faults`` holds one sentence per fault, so that all of them can be shown at once.
    """

    def __init__(self, message: str = "", *, faults: tuple[str, ...] = ()) -> None:
        super().__init__(message or "; ".join(faults))
        self.faults = faults or ((message,) if message else ())


class TopologyDrift(ConfigError):
    """The broker's topology differs from the map and cannot be mended by declaring what is missing."""


class TransientError(HubError):
    """The same work may succeed later."""


class PartnerUnavailable(TransientError):
    """The partner did not answer, or answered with a server error."""


class Throttled(TransientError):
    """The partner asked to come back later; ``retry_after`` is its own hint, if it gave one."""

    def __init__(
        self, message: str = "", *, retry_after: timedelta | None = None, facts: ErrorFacts = NO_FACTS
    ) -> None:
        super().__init__(message, facts=facts)
        self.retry_after = retry_after


class PartnerUnreachable(PartnerUnavailable):
    """Nobody is there: no connection, no TLS, no answer in time, or a gateway that says so (502, 503, 504).

    Unlike another ``PartnerUnavailable`` it is never about the message that was sent, so it may be an outage
    (``hub.messaging.resilience.circuit_breaker``).
    """


class PartnerUnreachableUntil(PartnerUnreachable, Throttled):
    """Nobody is there, and ``retry_after`` tells when somebody will be: a 503 with ``Retry-After``."""


class Unauthorized(TransientError):
    """The partner refused the credentials even after they were renewed."""


class BrokerUnavailable(TransientError):
    """The broker is not connected, or did not confirm in time; costs no attempt."""


class PublishersBlocked(BrokerUnavailable):
    """The broker blocks publishers, and nothing of this message was sent."""


class NotRouted(BrokerUnavailable):
    """No queue took a message: something of the map is missing on the broker."""


class StoreUnavailable(TransientError):
    """The state store does not answer, is locked, or cannot write; costs no attempt."""


class StatementRejected(StoreUnavailable):
    """The state store answers, and refuses a statement: a fault of ours, which costs attempts like any other."""


class Busy(TransientError):
    """Another process is at the same order or effect; ``retry_after`` tells when to look again."""

    def __init__(self, message: str = "", *, retry_after: timedelta) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class CircuitOpen(Busy):
    """The destination is away, which is known, so it was not called; costs no attempt."""


class ProcessLimit(Busy):
    """This process, or its machine, can open no more files or connections: no fault of a partner's; costs no attempt."""


class PermanentError(HubError):
    """The same work would fail again."""


class InvalidMessage(PermanentError):
    """The message breaks the contract of its type; ``field`` is the path of the first fault, if known.

    ``code`` is the kind of fault, in a word for machines (pydantic's, such as ``missing``).
    """

    def __init__(self, message: str = "", *, field: str = "", code: str = "") -> None:
        super().__init__(
            f"{field}: {message}" if field else message, facts=ErrorFacts(code=code, field=field)
        )
        self.field = field


class UnknownOrder(InvalidMessage):
    """The order id is not one that a producer of this hub has recorded."""


class PartnerRejected(PermanentError):
    """The partner understood the request and refused it; ``status`` is the HTTP status."""

    def __init__(self, message: str = "", *, status: int | None = None, facts: ErrorFacts = NO_FACTS) -> None:
        super().__init__(
            message, facts=facts if status is None else dataclasses.replace(facts, status=status)
        )

    @property
    def status(self) -> int | None:
        """The HTTP status."""
        return self.facts.status


class PartnerContractBroken(PermanentError):
    """The partner's answer is not what its documents promise."""


class MessageRefused(PermanentError):
    """The broker refuses this one message for good.

    ``code`` is its reply code; 0 where the hub did not send it, since it cannot be written or is too large.
    """

    def __init__(self, message: str = "", *, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class ArchiveChainBroken(HubError):
    """The archive chain of a feed is broken, or a page of it; the cursor is held until a person has looked at it.

    ``page`` is the path of a page that can be stepped over (``hub cursor skip``), ``digest`` the hash of its bytes.
    """

    def __init__(self, message: str = "", *, page: str = "", digest: str = "", code: str = "") -> None:
        super().__init__(message, facts=ErrorFacts(code=code))
        self.page = page
        self.digest = digest


class LeaseHeld(HubError):
    """Another process holds this lease; ``holder`` names it, where it is known."""

    def __init__(self, message: str = "", *, holder: str = "") -> None:
        super().__init__(message)
        self.holder = holder
