"""The client side of the console script: commands that talk to a costtrack server over HTTP.

Pure Python: no Django, no REST framework. What a command needs beyond its arguments is imported when it runs, so that
the script starts at once. Handbook: docs/cli.md.
"""
