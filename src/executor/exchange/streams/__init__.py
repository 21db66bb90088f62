"""What Binance pushes: the account's events and the market's prices.

Not here: the connections that they come over, requests and their answers (`transport`).
"""
