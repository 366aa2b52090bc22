"""Reading of the usage objects that providers, gateways, frameworks and agents send. Pure: no Django, no database.

`reader.read_usage` is the entry. The data are tables: `spellings` has the names of every count, condition and cost,
`conventions` what is part of what, by sender.
"""
