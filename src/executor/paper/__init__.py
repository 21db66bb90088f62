"""A Binance on loopback: the pure matching engine, recordings to replay, and (in `server`) the network side.

The engine knows no clock, no sockets and no files; `recording` reads files and knows nothing else.
"""
