"""Files and edits in a model's text: lexers, one module a format, and the matcher that places edits. [sans-IO]

A format is a row (`Format` of `lines.py`): what its markers begin with, and the function that reads what one of them
opens. `auto.py` has the table. Everything gives the same events however the text is split, in linear time.
"""
