"""Several machines, one owner for each account (rule 14): etcd as the store, leases, take-overs, signals on any node.

Not here: what an account does once it is owned (`service.account`), and what a trade does (`core`).
"""
