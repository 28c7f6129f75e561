"""`hub up`: everything that is to be had on this machine, in the foreground."""
