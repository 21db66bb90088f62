"""Executor carries out trade signals on Binance Spot, from signal to close."""
