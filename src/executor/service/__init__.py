"""The shell around the trade: what happens when, and what outlives the process.

Lives here: the loop and its tasks, the state file, the journal, the lock, start-up and shutdown. Does not
live here: what is decided (`core`), how the exchange is spoken to (`exchange`), where signals come from
(`signals`).
"""
