"""How a request leaves and its answer returns: keys, clock, weight, the HTTP client and the orders' WebSocket.

Not here: what requests and answers say (`wire`).
"""
