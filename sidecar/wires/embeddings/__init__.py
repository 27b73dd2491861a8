"""How providers make vectors: a module for each shape, named by the column `wire` of a row of `embeddings`."""
