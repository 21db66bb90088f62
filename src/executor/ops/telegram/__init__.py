"""Telegram: the Bot API by hand, alerts to a chat, commands from it.

What lives here: requests to the Bot API and what comes back, who may give which command, and the words of the answers.
What does not: which alerts there are and when they go out (`ops.alerts`), and how a command is carried out (the loop).
"""
