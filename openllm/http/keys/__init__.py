"""Keys with names: who calls, which models that key may use, and how much of them."""
