"""The matching engine: accounts, orders, books, filters, fills; pure, exact, without clock, sockets or files.

Not here: recordings and their time (`replay`), the network side (`server`).
"""
