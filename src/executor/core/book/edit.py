"""Looking up and replacing the parts of a position: its orders by client order id, its legs by number."""

from msgspec.structs import replace

from executor.core.model.state import Leg, Order, Position


def find_order(position: Position, client_id: str) -> Order | None:
    for order in position.orders:
        if order.id == client_id:
            return order
    return None


def the_order(position: Position, client_id: str) -> Order:
    """The order that a request of ours names; raises AssertionError where it was never recorded (rule 8.1)."""
    order = find_order(position, client_id)
    if order is None:
        raise AssertionError(f"an answer names {client_id}, which this trade never had")
    return order


def with_order(position: Position, order: Order) -> Position:
    """`position` with `order` in the place of the one with its id, or as the newest; itself when nothing changes."""
    orders = position.orders
    for i, known in enumerate(orders):
        if known.id == order.id:
            if known is order:
                return position
            return replace(position, orders=(*orders[:i], order, *orders[i + 1 :]))
    return replace(position, orders=(*orders, order))


def find_leg(position: Position, n: int) -> Leg | None:
    for leg in position.legs:
        if leg.n == n:
            return leg
    return None


def the_leg(position: Position, n: int) -> Leg:
    """Raises AssertionError where the position has no such leg."""
    for leg in position.legs:
        if leg.n == n:
            return leg
    raise AssertionError(f"trade {position.trade} has no leg {n}")


def with_leg(position: Position, leg: Leg) -> Position:
    return replace(position, legs=tuple(leg if known.n == leg.n else known for known in position.legs))
