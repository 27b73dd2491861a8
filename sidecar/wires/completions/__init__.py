"""Completions at the cursor: the requests and the replies of each API that has them. [pure]"""
