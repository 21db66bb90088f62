"""The port: what Executor needs of an exchange, and its Binance adapter.

Everything that python-binance or Binance's wire does in its own way stays in this room; what leaves it are
the core's values and three-way outcomes (rule 8.2).
"""
