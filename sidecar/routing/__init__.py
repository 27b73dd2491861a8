"""Which model is asked: a request's own and its fallbacks, or one of a route by price and speed."""
