"""Facts become requests: entry, exits, legs, closing, doubt, and the draft that they fill in.

Not here: what an event means (`absorb`). A decision looks at the facts alone, never at which event came.
"""
