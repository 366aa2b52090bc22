"""Is everything there that a request or a task needs? One list of checks, shown in two places.

`registry` keeps the checks; `servers` and `queues` are the project's own, and apps register theirs in
`AppConfig.ready`. `views` are `/healthz` and `/readyz`, for machines and strangers; `page` is for operators, in the
admin.
"""
