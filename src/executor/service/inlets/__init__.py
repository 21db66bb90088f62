"""What comes in from people and programs: the signal file, the webhook with its access checks, the control socket.

Not here: what the exchange tells (`service.push_router`, `service.poller`).
"""
