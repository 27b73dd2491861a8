"""How providers count tokens: one module for each way, pure, named by the column `counters` of a provider's table."""
