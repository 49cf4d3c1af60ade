"""What this server can be asked, as OpenAPI 3.1: made of its routes, by asking their handlers what
they read.
"""
