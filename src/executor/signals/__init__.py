"""Where signals come from: reading one signal, following the file that they are written to, appending to it.

Lives here: what a line of the signal file means, and how to follow that file without losing a line. Does not
live here: whether a signal is traded (`core`), when the file is looked at (`service`).
"""
