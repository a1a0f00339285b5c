"""Producers and receivers: processes of their own, each of which reports once, as JSON."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


async def start(module: str, *arguments: object) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *map(str, arguments), stdout=asyncio.subprocess.PIPE
    )


async def report(process: asyncio.subprocess.Process, seconds: float) -> bytes:
    """What it has written when it ends; after `seconds` it is asked to (SIGTERM)."""
    asking = asyncio.get_running_loop().call_later(seconds, process.terminate)
    said, _ = await process.communicate()
    asking.cancel()
    return said


@asynccontextmanager
async def started(module: str, *arguments: object) -> AsyncIterator[asyncio.subprocess.Process]:
    """It has ended afterwards, by itself or by SIGTERM."""
    process = await start(module, *arguments)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
