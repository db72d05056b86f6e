"""The hot path: our own filling of the seam, one protocol object per socket and nothing else.

No task, no timer, no header list per request.  Requests for other paths than
``/v1/opamp`` are handed, with their socket and what was read, to aiohttp.
"""
