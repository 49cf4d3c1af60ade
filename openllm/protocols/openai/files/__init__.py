"""Files as OpenAI keeps them: sent once, named by their ids later; here those of batches alone."""
