"""`make bench`: the product against the same statements without the product, side by side in one run."""
