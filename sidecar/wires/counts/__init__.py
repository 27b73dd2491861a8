"""How providers count tokens: a module for each way, named by the column `counters` of a provider's table."""
