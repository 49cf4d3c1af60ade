"""BentoCloud: account, push, deploy, wait."""
