"""How a request leaves and its answer returns: keys, clock, weight, the HTTP client, WebSockets that stay up, and
that of the orders.

Not here: what requests and answers say (`wire`).
"""
