"""Recorded markets, read from files and played to the engine in market time or on the wall clock.

Not here: what the engine makes of a price (`engine`).
"""
