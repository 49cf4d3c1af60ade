"""A Bento on BentoCloud: the account, what is sent, the deployment and its rollout."""
