"""Facts about providers and models: addresses, limits, capabilities, prices, and what corrects them."""
