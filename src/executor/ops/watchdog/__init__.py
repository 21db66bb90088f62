"""The watchdog (rule 12): compares what the state says with what the exchange says, by the numbered invariants.

What lives here: the comparisons (pure), what is believed of them, and what is done. What does not: deciding what
becomes of a trade. A finding is mended where it is of no trade, handed to the decider as a fact, or told.
"""
