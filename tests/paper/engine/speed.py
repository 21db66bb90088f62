"""What the hot calls of the engine cost: `python -m tests.paper.engine.speed` from the project's root."""

import sys
import time
from collections.abc import Callable

from tests.paper.engine.client import BUY, GTC, LTC, ME, SELL, Client, d, oco, request

from executor.core.model.values import OrderType

ROUNDS = 20_000


def measure(name: str, call: Callable[[int], object], rounds: int = ROUNDS) -> None:
    start = time.process_time()
    for number in range(rounds):
        call(number)
    micros = (time.process_time() - start) / rounds * 1_000_000
    sys.stdout.write(f"{name:44} {micros:8.2f} us\n")


def main() -> None:
    client = Client()
    engine, now = client.engine, client.now
    price, qty = d("80.00"), d("1.5")
    client.limit(BUY, "1", "75.00")
    client.stop_limit(SELL, "1", "76.00", "75.90")

    measure("trade that touches nothing", lambda n: engine.on_trade(LTC, n, price, qty, True, now), 200_000)

    def average(number: int) -> None:
        engine.on_trade(LTC, number, price, qty, True, now)
        engine.avg_price(LTC, now)

    measure("trade, then average price", average)
    order = request(BUY, OrderType.LIMIT, "1", price="79.00", time_in_force=GTC)

    def round_trip(number: int) -> None:
        order.client_order_id = f"id-{number}"
        engine.place_order(ME, order, now)
        engine.cancel_order(ME, LTC, now, orig_client_order_id=order.client_order_id)
        engine.drain_events(ME)

    measure("place, cancel, drain", round_trip)
    measure("query by client id", lambda _: engine.order(ME, LTC, orig_client_order_id="id-7"))
    measure("nothing to drain", lambda _: engine.drain_events(ME))
    pair = oco(SELL, "1", "81.00", "79.00", "78.90")

    def oco_trip(_: int) -> None:
        placed = engine.place_oco(ME, pair, now)
        engine.cancel_order_list(ME, LTC, now, order_list_id=placed.order_list.order_list_id)
        engine.drain_events(ME)

    measure("OCO: place, cancel, drain", oco_trip, 5_000)
    sell, buy = request(SELL, OrderType.MARKET, "1"), request(BUY, OrderType.MARKET, "1")

    def swap(_: int) -> None:
        engine.place_order(ME, sell, now)
        engine.place_order(ME, buy, now)
        engine.drain_events(ME)

    measure("market sell and buy, filled, drain", swap, 5_000)


if __name__ == "__main__":
    main()
