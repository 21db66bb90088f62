"""The least that any program could take: a bare client in Executor's place.

    python -m bench.floor SCENARIO PLACE

On the pushed fill it writes and syncs as many bytes as Executor's state has, once, and sends three requests that were
signed beforehand, on connections that are warm. Blocking sockets, no parsing beyond a search for bytes, nothing kept in
order, nothing checked: what is not needed here is what a service is made of.
"""

import base64
import hashlib
import hmac
import os
import socket
import struct
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from bench.scenario import KEY, SECRET, Place, Scenario

QTY: Final = Decimal("1.001")
STOP: Final = {"stop": "99.00", "limit": "98.90"}


def signed(params: dict[str, str]) -> dict[str, str]:
    params = params | {"recvWindow": "60000", "timestamp": str(time.time_ns() // 1_000_000)}
    return params | {"signature": signature(params)}


def signature(params: dict[str, str]) -> str:
    return hmac.new(SECRET.encode(), query(params).encode(), hashlib.sha256).hexdigest()


def query(params: dict[str, str]) -> str:
    return "&".join(f"{name}={value}" for name, value in params.items())


class Web:
    """One WebSocket connection, by hand."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname or "", parts.port or 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self._buffer = b""
        while b"\r\n\r\n" not in self._buffer:
            self._buffer += self.socket.recv(65536)
        self._buffer = self._buffer.partition(b"\r\n\r\n")[2]

    @staticmethod
    def frame(text: bytes, kind: int = 0x81) -> bytes:
        """Masked, as a client's must be; the mask of zeros leaves the text as it is."""
        head = bytes([kind, 0x80 | len(text)]) if len(text) < 126 else struct.pack("!BBH", kind, 0xFE, len(text))
        return head + b"\0\0\0\0" + text

    def receive(self) -> bytes:
        """The next message of text; pings are answered."""
        while True:
            if len(self._buffer) >= 2:
                length, start = self._buffer[1] & 0x7F, 2
                if length == 126 and len(self._buffer) >= 4:
                    length, start = struct.unpack("!H", self._buffer[2:4])[0], 4
                if length != 126 and len(self._buffer) >= start + length:
                    kind, payload = self._buffer[0] & 0x0F, self._buffer[start : start + length]
                    self._buffer = self._buffer[start + length :]
                    if kind == 1:
                        return payload
                    if kind == 9:
                        self.socket.sendall(self.frame(payload, 0x8A))
                    continue
                if length == 126 and len(self._buffer) >= 4 + length:
                    payload = self._buffer[4 : 4 + length]
                    self._buffer = self._buffer[4 + length :]
                    return payload
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("the venue has closed")
            self._buffer += data


class Http:
    """One keep-alive connection."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host = parts.netloc
        self.socket = socket.create_connection((parts.hostname or "", parts.port or 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def request(self, path: str, params: dict[str, str]) -> bytes:
        body = query(params).encode()
        return (
            f"POST /api/v3/{path} HTTP/1.1\r\nHost: {self.host}\r\nX-MBX-APIKEY: {KEY}\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    def answer(self) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self.socket.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        while len(body) < length:
            body += self.socket.recv(65536)
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise RuntimeError(f"refused: {body!r}")
        return body


class Client:
    def __init__(self, scenario: Scenario, place: Place) -> None:
        self.scenario = scenario
        self.symbol = scenario.symbols[0]
        self.stream = Web(place.ws_api_url)
        self.subscribe()
        self.lanes = [Http(place.rest_url) for _ in range(3)]
        self.api = Web(place.ws_api_url)
        self.signals = Path(place.signals)
        self.file = os.open(f"{place.folder}/floor", os.O_RDWR | os.O_CREAT, 0o600)
        self.state = os.urandom(scenario.size)
        self.notes = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notes.connect(place.notes)
        self.number = 0

    def subscribe(self) -> None:
        # the WebSocket API signs its parameters sorted by name
        params = {"apiKey": KEY, "timestamp": str(time.time_ns() // 1_000_000)}
        params["signature"] = signature(params)
        request = {"id": "s", "method": "userDataStream.subscribe.signature", "params": params}
        self.stream.socket.sendall(Web.frame(msgspec.json.encode(request)))
        while b'"id":"s"' not in (answer := self.stream.receive()):
            pass
        if b'"status":200' not in answer:
            raise RuntimeError(f"refused: {answer!r}")

    def run(self) -> None:
        self.notes.send(f"ready {self.symbol}".encode())
        read = 0
        while True:
            while self.signals.stat().st_size == read:
                time.sleep(0.002)
            read = self.signals.stat().st_size
            self.trade()
            self.notes.send(f"flat {self.symbol}".encode())

    def trade(self) -> None:
        self.number += 1
        entry = {"symbol": self.symbol, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": str(QTY)}
        entry |= {"price": "99.90", "newClientOrderId": f"floor-{self.number}-entry"}
        lane = self.lanes[0]
        lane.socket.sendall(lane.request("order", signed(entry)))
        lane.answer()
        send = self.over_ws() if self.scenario.transport == "ws" else self.over_rest()
        while b'"X":"FILLED"' not in self.stream.receive():
            pass
        os.pwrite(self.file, self.state, 0)
        os.fsync(self.file)
        send()
        closed = 0
        while closed < 3:
            message = self.stream.receive()
            closed += b'"X":"FILLED"' in message and b'"S":"SELL"' in message

    def exits(self) -> list[tuple[str, str, dict[str, str]]]:
        """REST path, WebSocket method, parameters: two lists and a stop."""
        third, name = QTY / 3, f"floor-{self.number}"
        size = str(third.quantize(Decimal("0.001"), rounding="ROUND_DOWN"))
        common = {"symbol": self.symbol, "side": "SELL", "quantity": size}
        stop = {"timeInForce": "GTC", "price": STOP["limit"], "stopPrice": STOP["stop"]}
        lists = [
            common
            | {"listClientOrderId": f"{name}-l{n}", "aboveType": "LIMIT_MAKER", "abovePrice": target}
            | {"aboveClientOrderId": f"{name}-t{n}", "belowType": "STOP_LOSS_LIMIT", "belowPrice": STOP["limit"]}
            | {"belowClientOrderId": f"{name}-s{n}", "belowStopPrice": STOP["stop"], "belowTimeInForce": "GTC"}
            | {"newOrderRespType": "FULL"}
            for n, target in ((1, "101.00"), (2, "102.00"))
        ]
        single = common | {"type": "STOP_LOSS_LIMIT", "newClientOrderId": f"{name}-s3", "newOrderRespType": "FULL"}
        if self.scenario.layout == "OCO":
            return [
                *(("orderList/oco", "orderList.place.oco", params) for params in lists),
                ("order", "order.place", single | stop),
            ]
        targets = [
            common
            | {"type": "LIMIT", "timeInForce": "GTC", "price": price, "newClientOrderId": f"{name}-t{n}"}
            | {"newOrderRespType": "FULL"}
            for n, price in ((1, "101.00"), (2, "102.00"))
        ]
        whole = single | stop | {"quantity": str(QTY)}
        return [("order", "order.place", params) for params in (*targets, whole)]

    def over_rest(self) -> Callable[[], None]:
        requests = [
            lane.request(path, signed(params)) for lane, (path, _, params) in zip(self.lanes, self.exits(), strict=True)
        ]

        def send() -> None:
            for lane, request in zip(self.lanes, requests, strict=True):
                lane.socket.sendall(request)
            for lane in self.lanes:
                lane.answer()

        return send

    def over_ws(self) -> Callable[[], None]:
        frames = b""
        for n, (_, method, params) in enumerate(self.exits()):
            full = params | {"apiKey": KEY, "recvWindow": "60000", "timestamp": str(time.time_ns() // 1_000_000)}
            full = dict(sorted(full.items()))
            full["signature"] = signature(full)
            frames += Web.frame(msgspec.json.encode({"id": n, "method": method, "params": full}))

        def send() -> None:
            self.api.socket.sendall(frames)
            for _ in range(3):
                answer = self.api.receive()
                if b'"status":200' not in answer:
                    raise RuntimeError(f"refused: {answer!r}")

        return send


def main() -> None:
    client = Client(msgspec.json.decode(sys.argv[1], type=Scenario), msgspec.json.decode(sys.argv[2], type=Place))
    client.run()


if __name__ == "__main__":
    main()
