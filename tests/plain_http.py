"""HTTP to servers that the tests have started, which have no certificates."""

import ssl

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""`verify=NO_TLS` of httpx. By default it reads the certificates of all authorities for each client and each request
without one, which takes 20 ms."""
