"""Follow the transparency logs of a trusted root: that they only grow, and what is in them under my name."""
