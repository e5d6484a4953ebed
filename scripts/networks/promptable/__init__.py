"""Networks that make masks of prompts, such as boxes; they are used as they come and never trained."""
