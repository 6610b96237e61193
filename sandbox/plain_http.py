"""Requests to servers of the rehearsal on this machine, over HTTP without TLS."""

import ssl
from functools import partial
from typing import Final

import httpx

NO_TLS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts nobody. By itself every client of httpx reads the authorities of the internet, which takes longer than an answer."""

request = partial(httpx.request, verify=NO_TLS, trust_env=False)
"""`httpx.request`, past every proxy."""
