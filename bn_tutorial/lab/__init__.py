"""Train many networks, and say what that shows and how sure it is."""
