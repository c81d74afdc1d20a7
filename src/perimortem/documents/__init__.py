"""The documents of perimortem as types: what the store keeps, ``--json`` prints and the API returns.

The JSON schemas in docs/ are generated from them (tools/generate_schemas.py). Times are RFC 3339 in UTC,
addresses are hexadecimal text, and every key is always there: ``None`` means unknown.
"""
