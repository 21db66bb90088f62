"""The trade: pure values and pure functions.

Lives here: what a trade is, what happened to it (events), what to ask of the exchange (intents), and the one function
that turns the first two into the third. Does not live here: clocks, files, sockets, asyncio, logging, Binance's wire.
Imports only the standard library and msgspec.
"""
