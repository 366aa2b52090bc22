"""The web server: granian, which speaks HTTP, and the small part between it and Django.

granian parses requests and keeps connections; it has no time limit for bodies and for idle connections. So a request
passes through here (docs/decisions/023-web-server.md):

    granian -> front (event loop: collects the body within limits) -> thread_pool (fair, bounded) -> bridge -> Django

`connections` closes what has been idle for too long, and `serve` starts all of it.
"""
