"""The client side of the console script: commands that talk to a costtrack server over HTTP.

Pure Python: no Django, no REST framework. A command's imports run only when the command does, so that the script starts
quickly. See docs/cli.md.
"""
