"""Processes that serve a project: one on a listening socket, or several behind one port."""
