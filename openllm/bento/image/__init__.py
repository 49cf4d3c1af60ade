"""A Bento as an image and on a cluster."""
