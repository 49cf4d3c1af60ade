"""What goes into a Bento: the file of its specs, texts from templates, weights in BentoML's store.

To add a text: a template in `templates/`, and a function in `render` that checks what goes into it.
"""
