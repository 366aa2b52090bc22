"""Health checks.

`registry` lists the checks: `servers` and `queues` are the project's own, and apps register theirs in
`AppConfig.ready`. `views` are the public `/healthz` and `/readyz`; `page` is the operators' page in the admin.
"""
