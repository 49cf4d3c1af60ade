"""The one high-level API: a spec becomes a model that generates and embeds, on any engine."""
