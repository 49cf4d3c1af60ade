"""What a Bento needs installed, as it is installed here: exact pins, hashes and our own wheel."""
