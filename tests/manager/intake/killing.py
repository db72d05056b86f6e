"""A child that takes appends and says how far it is, and is killed."""

import asyncio
import sys
from pathlib import Path

from tests.manager.intake.framing import KEY

ROOT = Path(__file__).parents[3]


async def live(child, folder, lines):
    """Run the module ``child`` until it has acknowledged ``lines`` appends, and kill it; returns the last it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", child, str(folder), KEY.public.der.hex(),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said = 0
    try:
        async with asyncio.timeout(30):
            for _ in range(lines):
                said = int(await process.stdout.readline())
    finally:
        process.kill()
        rest = (await process.communicate())[0]
    return max([said, *map(int, rest.split(b"\n")[:-1])])
