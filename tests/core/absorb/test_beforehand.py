"""What costs nothing is judged before the exchange is asked (rule 2.5)."""

from executor.core.absorb.admit import NotAdmitted, refused_beforehand
from executor.core.matrix import POLICY, RULES, SIGNAL, START
from executor.core.model.events import SignalSeen
from executor.core.transition import empty


def test_an_old_signal_is_refused_whatever_the_exchange_would_say() -> None:
    bare = SignalSeen(at=START, signal=SIGNAL, quote=None, balances=None, klines=None)
    late = START + POLICY.max_signal_age_ms + 1_000
    refused = refused_beforehand(empty(RULES.symbol), bare, POLICY, RULES, late)
    assert isinstance(refused, NotAdmitted)
    assert refused.kind == "too_old"
    assert refused_beforehand(empty(RULES.symbol), bare, POLICY, RULES, START) is None
