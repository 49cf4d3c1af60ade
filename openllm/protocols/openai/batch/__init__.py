"""Batches as OpenAI writes them: a file of requests in, a file of answers out.

The formats of both files: https://platform.openai.com/docs/guides/batch.
"""
