"""An event becomes facts: one module for each kind of event, `fold` hands it to the right one.

Not here: decisions. Nothing is asked of the exchange, and no order of events matters (rule 5.1).
"""
