"""Options that several commands share, and what was given with them as values of the library.

To add one: a module here with a decorator that adds the options and a function that reads them.
"""
