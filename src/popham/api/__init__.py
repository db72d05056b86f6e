"""REST under ``/api/v1``: require a grant, call the service, render.

No rule stands here: what may be done and what it means is the service's
matter, who may ask is the registry's.
"""
