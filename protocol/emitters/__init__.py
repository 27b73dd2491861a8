"""Writes the types of the protocol in the languages of its clients, from the schema.

`types.py` reads the schema into one table; each other module turns that table into the text of one file. These are
development tools; the program never imports them. `python -m protocol.schema` runs them all.
"""
