"""What there is: values, ids, facts, events, intents, orders, the symbol's rules, policy and state.

Not here: what it means (`book`), what an event changes (`absorb`), what is to be done (`decide`).
"""
