"""What Binance pushes: connections that stay up, the account's events, the market's prices.

Not here: requests and their answers (`transport`).
"""
