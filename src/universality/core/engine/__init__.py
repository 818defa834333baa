"""The matching engine: partners of sparse features, in time that follows the co-firings."""
