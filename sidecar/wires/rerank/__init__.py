"""The wires of reranks: a query and documents become a request, and a reply becomes a ranking. [pure]"""
