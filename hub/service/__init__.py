"""The composition root: settings become real objects, which run and end in order."""
