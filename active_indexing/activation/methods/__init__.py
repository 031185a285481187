"""Methods of activation, one file each."""
