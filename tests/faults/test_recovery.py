"""When the hub consumed again after a fault, read from what it said."""

from tests.faults.hub import Said
from tests.faults.points import Fault, Kind
from tests.faults.recovery import Met, late, measure

CUT = Fault("broker.ack", Kind.error_before, 1)


def test_a_recovery_lasts_from_the_end_of_the_fault_to_the_next_session() -> None:
    met = Met(CUT, begun=10.0, over=10.0)

    measure([met], [Said(1.0, "broker_connected"), Said(10.1, "broker_lost"), Said(10.6, "broker_connected")])

    assert met.recovered is not None
    assert round(met.recovered, 3) == 0.6
    assert late([met]) == ()


def test_a_hub_that_lost_no_session_recovered_at_once() -> None:
    met = Met(Fault("broker.publish", Kind.timeout_after, 1), begun=10.0, over=11.0)

    measure([met], [Said(1.0, "broker_connected")])

    assert met.recovered == 0.0


def test_a_refusal_by_a_partner_ends_no_session() -> None:
    met = Met(Fault("acme.confirmation", Kind.error_before, 1), begun=10.0, over=10.0)

    measure([met], [Said(10.1, "broker_lost"), Said(12.0, "broker_connected")])

    assert met.recovered is None


def test_a_recovery_beyond_the_promise_is_told_unless_another_fault_fell_into_it() -> None:
    slow = Met(CUT, begun=10.0, over=10.0, recovered=1000.0)
    another = Met(CUT, begun=500.0, over=500.0, recovered=0.1)

    assert len(late([slow])) == 1
    assert late([slow, another]) == ()
