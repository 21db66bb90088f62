"""What the state means: holdings, cover, levels, split, plan, summary; functions of the state alone.

Not here: what an event changes (`absorb`) and what is asked of the exchange (`decide`).
"""
