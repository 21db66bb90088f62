"""A state from less than a state: an older one brought up to date, a trade rebuilt from the exchange alone.

Not here: a start with the newest state, which is an event like any other (`absorb.restart`).
"""
