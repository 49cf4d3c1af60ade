"""A request's JSON body, read field by field: what several vendors' bodies have in common."""
