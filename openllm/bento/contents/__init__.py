"""What is in a Bento: listed, licensed, scanned, checked."""
