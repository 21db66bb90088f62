"""Deliberate bugs that only another exchange shows, or an answer that no document has (`tests.sim.mutants`)."""

from typing import Final

from tests.sim.mutant import CORE, Mutant

ODD_MUTANTS: Final = (
    Mutant(
        "closed without the last look",
        f"{CORE}/decide/closing.py",
        "    if not all(_looked_since(draft, phase, at) for at in ended):\n"
        "        draft.query_open_orders()\n        return None\n",
        "",
    ),
    Mutant(
        "a cancel is repeated without a pause",
        f"{CORE}/model/orders.py",
        "    return order.ask_at + _CANCEL_AGAIN_MS[min(order.cancels, len(_CANCEL_AGAIN_MS) - 1)]\n",
        "    return order.ask_at\n",
    ),
    Mutant(
        "a balance is asked for while it can say nothing",
        f"{CORE}/decide/missing.py",
        "        return Stock.UNKNOWN  # and nothing is asked before it is known how that ended (rule 8.7)\n",
        "        draft.query_balances()\n        return Stock.UNKNOWN\n",
    ),
    Mutant(
        "a list is cancelled as a list whatever is left of it",
        f"{CORE}/decide/draft.py",
        "            if (paired and not order.cancels) or (by is CancelBy.LIST and not paired):",
        "            if order.list_id and not order.is_entry:",
    ),
    Mutant(
        "what a stuck order may sell is sold beside it",
        f"{CORE}/decide/closing.py",
        "    standing = committed(position, layout=Layout.OCO)\n",
        "    standing = ZERO\n",
        ("import committed, sold_too_much\n", "import sold_too_much\n"),
    ),
    Mutant(
        "closed beside a stuck order",
        f"{CORE}/decide/closing.py",
        "    if live:\n        return None\n    if _look_again",
        "    if _look_again",
    ),
    Mutant(
        "a move that can't cancel is repeated at once",
        f"{CORE}/absorb/refusals.py",
        "    if leg is None or not isinstance(cancelled, Refused) or cancelled.why in PASSING or len(untried) < 2:\n",
        "    if leg is not None or untried:\n",
    ),
    Mutant(
        "an overloaded server has done nothing",
        "src/executor/exchange/wire/outcomes.py",
        "    -1008: DOUBT,",
        "    -1008: Why.RATE_LIMIT,",
    ),
    Mutant(
        "an internal error has done nothing",
        "src/executor/exchange/wire/outcomes.py",
        "    -1001: DOUBT,",
        "    -1001: Why.NOT_SENT,",
    ),
    Mutant(
        "an unknown error has done nothing",
        "src/executor/exchange/wire/outcomes.py",
        "    -1000: DOUBT,",
        "    -1000: Why.NOT_SENT,",
    ),
    Mutant(
        "a message bus that fails has done nothing",
        "src/executor/exchange/wire/outcomes.py",
        "    -1006: DOUBT,",
        "    -1006: Why.NOT_SENT,",
    ),
)
"""Found only on an exchange that is another than the documents' plain reading, or answers what they don't have: by the
book none of them is (`python -m tests.sim.mutants --by-the-book`).
"""
