"""What can be said of a deployment and of a process."""
