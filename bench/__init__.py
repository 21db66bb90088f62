"""How fast Executor is on this machine: `make bench`, `make bench-quick`.

One run, on loopback, against the paper exchange in a process of its own (`venue`), Executor in another (`subject`), a
bare client in its place for the floor (`floor`), and a delaying proxy between them where there is to be a network
(`proxy`). All of them read the machine's monotonic clock, so times of different processes can be compared.
"""
