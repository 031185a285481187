"""Named settings of training."""
