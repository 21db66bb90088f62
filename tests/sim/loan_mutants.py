"""Deliberate bugs of loans, as those of `tests.sim.mutants`: each must be found within a minute, in runs on margin.

    python -m tests.sim.loan_mutants            all of them, as a table
    python -m tests.sim.loan_mutants NAME ...   some

The table of all is kept in `loan_mutants.txt` beside this file.
"""

import sys
from pathlib import Path
from typing import Final

from tests.sim.mutant import CORE, Mutant
from tests.sim.mutants import main

LOAN_TABLE: Final = Path(__file__).with_name("loan_mutants.txt")
WIRE: Final = "src/executor/exchange/wire/margin.py"

LOAN_MUTANTS: Final = (
    Mutant(
        "a loan without an answer is asked for again",
        f"{CORE}/absorb/loans.py",
        "            return Absorbed(replace(state, loan=doubt(loan, outcome.fence, now)), MOVED, (note,))",
        "            return Absorbed(closed(state, loan, LoanEnd.NEVER, now), MOVED, (note,))",
    ),
    Mutant(
        "one look says that a loan was never made",
        f"{CORE}/absorb/loans.py",
        "    if loan.misses >= 2 and loan.phase is LoanPhase.UNRESOLVED and asked_at >= settled:",
        "    if loan.phase is LoanPhase.UNRESOLVED:",
    ),
    Mutant(
        "interest is not repaid",
        f"{CORE}/decide/repay.py",
        "    amount = min(floor_to(account.available(debt.asset), PRECISION), debt.own)\n",
        "    amount = min(floor_to(account.available(debt.asset), PRECISION), debt.own - debt.charged)\n",
    ),
    Mutant(
        "a short buys back exactly what it sold",
        f"{CORE}/book/debt.py",
        "    wanted = gross(need + reserve, keep, step)\n",
        "    wanted = max(entered - left, ZERO)\n",
    ),
    Mutant(
        "an order forgets whose account it is for",
        WIRE,
        '        return {"isIsolated": "TRUE" if self.isolated else "FALSE"}',
        '        return {"isIsolated": "FALSE"}',
    ),
    Mutant(
        "a loan forgets whose account it is for",
        WIRE,
        '        return {**self.flag, "symbol": self.isolated} if self.isolated else self.flag',
        '        return {"isIsolated": "FALSE"}',
    ),
    Mutant(
        "one try to repay",
        f"{CORE}/decide/repay.py",
        "    if outbox.now < work.ask_at:\n        return work\n",
        "    if work.again:\n        return None\n",
    ),
    Mutant(
        "a repayment in doubt is repeated",
        f"{CORE}/absorb/loans.py",
        '            note = Notify(Level.WARNING, "outcome_unknown", f"{named(loan)}: {outcome.text}")\n',
        "            if loan.kind is LoanKind.REPAY:\n"
        "                return Absorbed(closed(state, loan, LoanEnd.NEVER, now))\n"
        '            note = Notify(Level.WARNING, "outcome_unknown", f"{named(loan)}: {outcome.text}")\n',
    ),
    Mutant(
        "a level is compared without a debt",
        f"{CORE}/decide/margin_level.py",
        "    if credit is None or account is None or terms is None or not debts.owed(draft.state.debts):\n",
        "    if credit is None or account is None or terms is None:\n",
        (
            "    if level is None:\n        return False\n",
            "    level = level or _HALF - _HALF\n",
        ),
    ),
    Mutant(
        "somebody else's debt is repaid",
        f"{CORE}/book/debt.py",
        "        return _seen(replace(debt, foreign=_foreign(shown, others)), shown, others)",
        "        return _seen(replace(debt, own=shown.total), shown, others)",
    ),
    Mutant(
        "debts are not in the state file",
        "src/executor/service/store/document.py",
        'if name != "orders")',
        'if name not in {"orders", "debts"})',
    ),
    Mutant(
        "what was repaid is not read again",
        f"{CORE}/decide/repay.py",
        "    loan = outbox.loan\n    since = max(since,",
        "    loan = outbox.loan\n"
        "    if loan is not None and loan.kind is LoanKind.REPAY and loan.end is LoanEnd.DONE:\n"
        "        return None\n    since = max(since,",
    ),
    Mutant(
        "the entry does not wait for its loan",
        f"{CORE}/decide/borrow.py",
        "    if lending.look(draft) or draft.changing():\n        return\n",
        "    if draft.loan is not None and draft.loan.phase is LoanPhase.UNRESOLVED:\n"
        "        draft.enter(Entering(give_up_at=draft.now + draft.policy.entry_timeout_ms))\n"
        "        return\n"
        "    if lending.look(draft) or draft.changing():\n        return\n",
        (
            "from executor.core.model.loans import Credit, Loan, LoanEnd, LoanKind\n",
            "from executor.core.model.loans import Credit, Loan, LoanEnd, LoanKind, LoanPhase\n",
        ),
    ),
    Mutant(
        "too little is believed at the first look",
        f"{CORE}/decide/repay.py",
        "        if account.asked_at < believed:\n",
        "        if account.asked_at < work.short_at:\n",
    ),
    Mutant(
        "what a liquidation has paid is owed for ever",
        f"{CORE}/book/debt.py",
        "    own = min(debt.own, max(shown.total - others.owed - foreign, ZERO))\n",
        "    own = debt.own\n",
    ),
    Mutant(
        "interest that is taken in BNB is somebody's hand",
        f"{CORE}/book/debt.py",
        "    return grown < 0 and (shown.principal == lent if lent is not None else -grown <= debt.seen.interest)\n",
        "    return False\n",
    ),
)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], LOAN_MUTANTS, LOAN_TABLE, "margin"))
