"""A broker made like the map, or compared with it."""
