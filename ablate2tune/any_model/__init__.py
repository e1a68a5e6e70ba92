"""Any module with a stack of attention blocks, by a figure of one's own."""
