"""Trades to look at: how each went (`paths`), what they come to (`figures`), as pictures (`drawing`, `charts`) on one
page (`page`), and as an image for a message (`picture`). What only people read as text is in `ops.report`.
"""
