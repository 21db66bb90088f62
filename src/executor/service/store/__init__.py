"""What outlives the process: the state file, its write-ahead copy, the journal, finished trades, the lock.

Not here: what is written when (`service.engine`) and what a state means (`core`).
"""
