"""What is known of providers and models: addresses, limits, capabilities, prices, and their corrections."""
