"""What goes into a Bento and where."""
