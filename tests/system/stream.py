#!/usr/bin/python3
"""Send echo requests to an IPv6 address at a steady rate until SIGTERM, then tell what came back.

Runs in a guest, so it needs nothing but Python. Prints `sending` after the first answer, and at the
end one line of JSON: `sent`, `lost` and `refused` (by our own kernel: no route, no address) as
numbers of packets, `per_second` as the rate that was reached, `longest_ms` as the longest time to
an answer.
"""

from __future__ import annotations

import json
import select
import signal
import socket
import struct
import sys
import time

RATE = 1000  # per s
# On a busy machine a process waits for the processor for half a second. What is sent then would
# overrun the queues between the nodes, which are not what is measured: so no more than this many
# packets are on their way or sent at once. One without an answer after PATIENCE seconds is none of
# them any more.
WINDOW = 100
PATIENCE = 1.0
BUFFER = 4 * 1024 * 1024  # bytes for answers
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h
GRACE = 5.0  # s for the last answers
REQUEST, REPLY = 128, 129  # RFC 4443 section 4
_PACKET = struct.Struct(
    "!BBHHHI"
)  # type, code, checksum (the kernel's), identifier, sequence, ours
IDENTIFIER = 0x6277


class Stream:
    def __init__(self, address: str) -> None:
        self.address = address
        self.waiting: dict[int, float] = {}  # when sent, by number
        self.late: dict[int, float] = {}
        self.sent = self.refused = 0
        self.longest = self.seconds = 0.0
        self.stopped = False
        self.socket = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, BUFFER)
        self.socket.setblocking(False)

    def run(self) -> None:
        begin = due = time.monotonic()
        while not self.stopped:
            self.receive(due - time.monotonic())
            self.give_up()
            due = max(due, time.monotonic() - WINDOW / RATE)
            while due <= time.monotonic():
                if len(self.waiting) < WINDOW:
                    self.send()
                due += 1 / RATE
        self.seconds = time.monotonic() - begin
        end = time.monotonic() + GRACE
        while (self.waiting or self.late) and time.monotonic() < end:
            self.receive(end - time.monotonic())

    def give_up(self) -> None:
        """Wait for the oldest no more; their answers still count."""
        now = time.monotonic()
        while self.waiting:
            number, sent = next(iter(self.waiting.items()))
            if sent > now - PATIENCE:
                break
            self.late[number] = self.waiting.pop(number)

    def send(self) -> None:
        number = self.sent
        self.sent += 1
        packet = _PACKET.pack(REQUEST, 0, 0, IDENTIFIER, number & 0xFFFF, number)
        self.waiting[number] = time.monotonic()
        try:
            self.socket.sendto(packet, (self.address, 0))
        except OSError:
            self.refused += 1
            del self.waiting[number]

    def receive(self, timeout: float) -> None:
        if not select.select([self.socket], [], [], max(timeout, 0))[0]:
            return
        packet = self.socket.recv(2048)
        if len(packet) != _PACKET.size:
            return
        kind, _, _, identifier, _, number = _PACKET.unpack(packet)
        if (kind, identifier) != (REPLY, IDENTIFIER):
            return
        sent = self.waiting.pop(number, None) or self.late.pop(number, None)
        if sent is not None:
            self.longest = max(self.longest, time.monotonic() - sent)
            if number == 0:
                print("sending", flush=True)

    def result(self) -> dict[str, int]:
        return {
            "sent": self.sent,
            "per_second": round(self.sent / max(self.seconds, 1 / RATE)),
            "lost": len(self.waiting) + len(self.late),
            "refused": self.refused,
            "longest_ms": round(self.longest * 1000),
        }


def main() -> None:
    stream = Stream(sys.argv[1])

    def stop(*_: object) -> None:
        stream.stopped = True

    signal.signal(signal.SIGTERM, stop)
    stream.run()
    print(json.dumps(stream.result()))


if __name__ == "__main__":
    main()
