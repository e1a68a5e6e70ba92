"""A frozen base in few bits: how weights are stored, and the layers that hold them."""
