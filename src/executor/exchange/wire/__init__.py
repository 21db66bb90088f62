"""What Binance's requests and answers say, as the core's values. Pure.

Not here: sending them (`transport`).
"""
