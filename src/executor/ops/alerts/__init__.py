"""Alerts: what is worth telling a person, kept on disk until every channel has taken it.

What lives here: the list of all alerts, the outbox, what is merged and when, the channels. What does not: why something
is told (the core's notes, the watchdog), and commands from the phone (`ops.telegram`).
"""
