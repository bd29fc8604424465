"""A process that owns a device until it is killed: the desired state comes on its input."""

from __future__ import annotations

import asyncio
import pickle
import sys

from bmx7wg.device.choose import open_device


async def main(backend):
    desired = pickle.load(sys.stdin.buffer)
    device = await open_device(backend, desired.name)
    device.watch(lambda sentence: None)
    await device.apply(desired)
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main(sys.argv[1]))
