"""Texts that a schema describes: regular expressions, formats and lengths as grammars of JSON
strings.
"""
